"""What makes the results of docs/: run each as ``python -m experiments.NAME``."""

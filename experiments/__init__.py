"""What makes the results: each module is a command, ``python -m experiments.NAME``."""

"""The figures of the paper, each a command: ``python -m experiments.figures.NAME``."""

"""Sweeps: what is varied, the study that chooses trials, and the driver that runs them."""

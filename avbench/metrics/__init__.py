"""Metrics on arrays; they know nothing of models or data sets."""

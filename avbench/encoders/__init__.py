"""Anybody's encoder: the interface, and what makes it answer what tasks ask of a model."""

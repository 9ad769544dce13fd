"""Clips from files: decoding, preparing, reading, and the embedded set."""

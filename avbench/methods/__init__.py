"""The seven methods, one file each, on shared blocks."""

"""What the reconstruction task is made of: a model at any mask, and pictures of what it fills in."""

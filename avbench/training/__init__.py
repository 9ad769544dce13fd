"""The plain-torch training loop and its checkpoints."""

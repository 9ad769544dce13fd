"""What the localization task is made of: maps from tokens, ground truth beside them, controls, scores, pictures."""

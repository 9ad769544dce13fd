"""The field's localization annotations as ground truth: one reader a data set (facts/cavmae_sync.md 5)."""

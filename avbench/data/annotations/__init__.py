"""The field's localization annotations as ground truth: one reader a data set (docs/protocol/cavmae_sync.md 5)."""

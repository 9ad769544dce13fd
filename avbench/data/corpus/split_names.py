"""The names of splits, as people write them."""

from __future__ import annotations

#: What is written in a list of clips -> the split it means.
SPLITS = {"": "", "train": "train", "tune": "tune", "val": "tune", "valid": "tune", "validation": "tune"} | {
    "dev": "tune", "test": "test", "eval": "test",
}  # fmt: skip
VALID = ", ".join(sorted(set(SPLITS.values()) - {""}))

"""What may happen to a file that the program wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np

KINDS = ("empty", "truncated", "random", "nested", "wrong type", "bit")


def damaged(data: bytes, kind: str, seed: int) -> bytes:
    """Returns a file's content after some damage, a function of the seed."""
    draw = np.random.default_rng(seed)
    if kind == "truncated":
        return data[: int(draw.integers(1, max(2, len(data))))]
    if kind == "random":
        return draw.bytes(max(1, len(data)))
    if kind == "wrong type":
        return (b"{}", b"[]", b'"x"\n', b'{"rows": [], "key": 5, "id": {}, "seal": 7}')[int(draw.integers(4))]
    if kind == "bit":
        changed = bytearray(data)
        if changed:
            changed[int(draw.integers(len(data)))] ^= 1 << int(draw.integers(8))
        return bytes(changed)
    return {"empty": b"", "nested": b"[" * 200_000}[kind]


def written(folder: Path) -> list[Path]:
    """Returns every file that a command left, without locks, which are empty, and what TensorBoard writes."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    return [path for path in found if path.parent.name != "tensorboard"]

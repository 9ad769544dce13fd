"""The features file: one .npz of embeddings, ours or anyone's, that retrieval evaluates.

- ``id``: (n,) text, in the manifest's order
- ``audio``: (n, F, d) float32, or (n, d) for one frame a clip
- ``visual``: (n, F, d) likewise; of data with sound or pictures alone, one of the two
- ``config``: JSON text, what made them (optional)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.files import atomic_path
from avbench.store.npz import check_unique, opened

ARRAYS = ("id", "audio", "visual")
_VALID = f"an .npz with {', '.join(ARRAYS)} (see: avbench features)"


@dataclass(frozen=True)
class Features:
    """Embeddings of clips, in pairs or of one modality: row i of ``audio`` and ``visual`` belongs to ``ids[i]``.

    Two axes, (n, d), are taken as one frame a clip; other kinds of numbers become float32. ``scores``, where there are
    any, are the similarities of sounds (rows) and pictures by which an encoder compares in place of the cosine.

    Raises:
        InputError: Shapes, lengths or ids that cannot be used; values are checked where they are compared.
    """

    ids: list[str]
    audio: npt.NDArray[np.float32] | None  # (n, F, d)
    visual: npt.NDArray[np.float32] | None  # (n, F, d)
    config: dict[str, Any] = field(default_factory=dict)
    scores: npt.NDArray[np.float32] | None = None  # (n, n)

    def __post_init__(self) -> None:
        """Checks the arrays and gives them their three axes."""
        for name, values in self.sides.items():
            object.__setattr__(self, name, with_frames(name, values))
        n, rows = len(self.ids), {name: len(values) for name, values in self.sides.items()}
        if not rows or set(rows.values()) != {n}:
            found = " and ".join(f"{count} {name}" for name, count in rows.items()) or "no"
            raise InputError(f"found {n} ids, {found} rows, valid: as many of each.")
        widths = {name: values.shape[2] for name, values in self.sides.items()}
        if len(set(widths.values())) > 1 and self.scores is None:
            raise InputError(
                f"found widths {widths['audio']} (audio) and {widths['visual']} (visual), valid: the same."
            )
        check_unique(self.ids)

    @property
    def sides(self) -> dict[str, npt.NDArray[np.float32]]:
        """The modalities that there are, by name, audio first."""
        both = {"audio": self.audio, "visual": self.visual}
        return {name: values for name, values in both.items() if values is not None}

    @property
    def pair(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Sound and picture.

        Raises:
            InputError: There is one of them alone.
        """
        if self.audio is None or self.visual is None:
            raise InputError(f"found {next(iter(self.sides))} alone, valid: audio and visual, to compare pairs.")
        return self.audio, self.visual


def with_frames(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns features as (n, F, d) float32, from (n, F, d) or (n, d).

    Raises:
        InputError: No numbers, or another shape.
    """
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: found values of type {array.dtype}, valid: numbers, best float32.")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{name}: found shape {array.shape}, valid: (clips, frames, width) or (clips, width).")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such later
        return (array if array.ndim == 3 else array[:, None]).astype(np.float32, copy=False)


def write_features(path: Path, features: Features, config: Mapping[str, Any] | None = None) -> None:
    """Writes a features file, atomically.

    Args:
        path: The .npz to write.
        features: What to write, in the order it has.
        config: What made them, JSON values; None: what the features carry.
    """
    text = json.dumps(dict(features.config if config is None else config), sort_keys=True, ensure_ascii=False)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            allow_pickle=False,
            id=np.array(features.ids, dtype=np.str_),
            config=np.array(text),
            **features.sides,
        )


def read_features(path: Path) -> Features:
    """Reads a features file.

    Raises:
        InputError: It is missing, no .npz, lacks an array, or holds arrays that do not fit each other.
    """
    with opened(path, _VALID, ARRAYS) as arrays:
        return Features(arrays.text(), arrays.read("audio"), arrays.read("visual"), arrays.config())

"""The file of vectors or scores that anybody's model made of labelled clips, for ``evaluate --features --labels``.

- ``id``: (n,) text
- ``audio``, ``visual``, ``joint``: (n, D) or (n, F, D) numbers, of any width each; those that there are
- ``scores``, or ``STREAM/scores``: (n, C) class scores, of the stream ``joint`` where none is named
- ``classes``: (C,) text, which class each column of the scores is of
- ``target``: (n,) or (n, C), what the scores were judged by before
- ``config``: JSON text, what made them
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.config import MODALITIES
from avbench.errors import InputError
from avbench.store.extracted import Pooled
from avbench.store.features import Features, with_frames
from avbench.store.npz import check_unique, opened

STREAMS = ("audio", "visual", "joint")
SCORES = "scores"
VALID = f"id, any of {', '.join(STREAMS)}, {SCORES}"


@dataclass(frozen=True)
class Vectors:
    """What a file holds: row i of every array belongs to ``ids[i]``."""

    ids: list[str]
    streams: dict[str, npt.NDArray[np.float32]]  # (n, F, D)
    scores: dict[str, npt.NDArray[Any]]  # (n, C), by stream
    classes: list[str] | None
    target: npt.NDArray[np.int64] | None  # (n,), where each clip had one class
    config: dict[str, Any]

    def pooled(self, rows: npt.NDArray[np.int64]) -> Pooled:
        """Returns the vectors of some clips, as a method's."""
        found = {name: values[rows] for name, values in self.streams.items()}
        ids = [self.ids[row] for row in rows.tolist()]
        return Pooled(ids, found.get("audio"), found.get("visual"), found.get("joint"))

    def embeddings(self, rows: npt.NDArray[np.int64] | None = None) -> Features:
        """Returns sound and picture of some clips, or of all; of a file with one of them, that one.

        Raises:
            InputError: There is neither, or they cannot be compared.
        """
        chosen = np.arange(len(self.ids)) if rows is None else rows
        sides = {name: self.streams[name][chosen] for name in MODALITIES if name in self.streams}
        if not sides:
            raise InputError("found neither audio nor visual, valid: one or both, to compare clips by.")
        return Features(
            [self.ids[row] for row in chosen.tolist()], sides.get("audio"), sides.get("visual"), self.config
        )


def read_vectors(path: Path) -> Vectors:
    """Reads a file of vectors or scores.

    Raises:
        InputError: It is missing, no .npz, or holds no such arrays, or such that do not fit each other.
    """
    with opened(path, f"an .npz with {VALID}") as arrays:
        wanted = [name for name in arrays.names if name.rpartition("/")[2] == SCORES or name in STREAMS]
        if "id" not in arrays.names or not wanted:
            raise InputError(f"found {', '.join(arrays.names) or 'no arrays'}, valid: an .npz with {VALID}.")
        named = {name: arrays.read(name) for name in wanted}
        ids = arrays.text()
        check_unique(ids)
        for name, values in named.items():
            if values.shape[:1] != (len(ids),):
                raise InputError(f"found {len(ids)} ids and {name} of shape {values.shape}, valid: a row for each id.")
        classes = arrays.text("classes", "classes") if "classes" in arrays.names else None
        return Vectors(
            ids,
            {name: with_frames(name, values) for name, values in named.items() if name in STREAMS},
            {
                name.rpartition("/")[0] or "joint": _scores(name, values)
                for name, values in named.items()
                if name not in STREAMS
            },
            classes,
            _target(arrays.read("target"), len(ids)) if "target" in arrays.names else None,
            arrays.config(),
        )


def _scores(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind not in "fiu" or values.ndim != 2 or 0 in values.shape:
        found = f"shape {values.shape} of type {values.dtype}"
        raise InputError(f"{name}: found {found}, valid: (clips, classes) numbers.")
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _target(values: npt.NDArray[Any], n: int) -> npt.NDArray[np.int64] | None:
    return values.astype(np.int64) if values.shape == (n,) and values.dtype.kind in "iu" else None

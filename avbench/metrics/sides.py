"""One modality's features as unit vectors in blocks, checked before anything is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown

Array = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Aggregation = Literal["diagonal_mean", "diagonal_max", "mean", "max"]

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
BLOCK = 2048  # clips a side of one block of similarities: 32 MB
BLOCK_VALUES = 2**23  # feature values a side of one block: 64 MB in float64
NAMED = 3  # clips named in an error


class Side:
    """One modality's features, given out in blocks of unit vectors.

    Args:
        name: ``audio`` or ``visual``, for errors.
        features: (n, F, d), or (n, d) for one frame.
        ids: The clips' names, for errors; None: their row numbers.
        aggregation: How frames are combined.
    """

    def __init__(self, name: str, features: Array, ids: Sequence[str] | None, aggregation: Aggregation) -> None:
        if features.ndim not in (2, 3) or 0 in features.shape:
            raise InputError(f"{name}: found shape {features.shape}, valid: (clips, frames, width) or (clips, width).")
        self.features = features if features.ndim == 3 else features[:, None]  # (n, F, d)
        self.aggregation = aggregation
        norms = self._norms()  # (n, F)
        _refuse(name, "values that are not finite", ~np.isfinite(norms), ids, "finite numbers")
        _refuse(name, "a vector of zeros", norms == 0, ids, "vectors with a direction")
        # The mean of F dot products is one dot product of the frames laid end to end, each shortened to F ** -0.5.
        self.divisors = norms * np.sqrt(self.frames) if aggregation == "diagonal_mean" else norms

    def __len__(self) -> int:
        return len(self.features)

    @property
    def frames(self) -> int:
        """Vectors of each clip."""
        return int(self.features.shape[1])

    @property
    def width(self) -> int:
        """Numbers of each vector."""
        return int(self.features.shape[2])

    def _norms(self) -> Float64:
        norms = np.empty(self.features.shape[:2])
        # float32 squared cannot overflow float64, so a norm is finite exactly where its vector is.
        for rows in slices(len(self.features), block_size(self.features, None)):
            part = self.features[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                norms[rows] = np.sqrt(np.einsum("nfd,nfd->nf", part, part, dtype=np.float64))
        return norms

    def units(self, rows: slice) -> Float64:
        """Returns what is multiplied for some clips: (F, B, d), (1, B, F d) for diagonal_mean, (1, B, d) for mean."""
        unit: Float64 = np.divide(self.features[rows], self.divisors[rows, :, None], dtype=np.float64)  # (B, F, d)
        if self.aggregation == "mean":
            return np.asarray(unit.mean(axis=1))[None]
        if self.aggregation == "diagonal_mean":
            return unit.reshape(1, len(unit), -1)
        return np.ascontiguousarray(unit.transpose(1, 0, 2))


def _refuse(name: str, what: str, bad: npt.NDArray[np.bool_], ids: Sequence[str] | None, valid: str) -> None:
    """Raises InputError where ``bad`` (n, F) marks any clip."""
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows) == 0:
        return
    named = ", ".join(f"row {row}" if ids is None else str(ids[row]) for row in rows[:NAMED].tolist())
    more = ", ..." if len(rows) > NAMED else ""
    raise InputError(
        f"{name}: found {what} in {len(rows)} of {len(bad)} clips ({named}{more}), valid: {valid};"
        " extract these clips again or leave them out."
    )


def slices(n: int, block: int) -> Iterator[slice]:
    """Returns the blocks of ``n`` rows."""
    return (slice(start, min(start + block, n)) for start in range(0, n, block))


def block_size(features: Array, block: int | None) -> int:
    """Returns the clips a block: the caller's number, or what keeps both its sides within a fixed memory."""
    values = int(np.prod(features.shape[1:]))
    return block or max(1, min(BLOCK, BLOCK_VALUES // values))


def sides(audio: Array, visual: Array, aggregation: Aggregation, ids: Sequence[str] | None) -> tuple[Side, Side]:
    """Returns both modalities, which can be compared.

    Args:
        audio: (n, F, d) or (n, d).
        visual: (m, G, d) or (m, d).
        aggregation: How frames are combined.
        ids: The clips' names, for errors.

    Raises:
        InputError: They cannot.
    """
    if aggregation not in AGGREGATIONS:
        raise unknown("aggregation", aggregation, AGGREGATIONS)
    a, v = Side("audio", audio, ids, aggregation), Side("visual", visual, ids, aggregation)
    if a.width != v.width:
        raise InputError(f"audio and visual: found widths {a.width} and {v.width}, valid: the same.")
    if aggregation.startswith("diagonal") and a.frames != v.frames:
        raise InputError(
            f"aggregation {aggregation}: found {a.frames} audio and {v.frames} visual frames, valid: as many of both,"
            " or one of either; retrieval takes others by --set task.aggregation=mean, or max."
        )
    return a, v

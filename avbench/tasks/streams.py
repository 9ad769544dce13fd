"""The vectors that probes read: one a clip for sound, picture and both, from those of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.store.extracted import Pooled
    from avbench.tasks.subject import Part, Subject

Array = npt.NDArray[Any]
Frames = Literal["mean", "concat"]
Joint = Literal["joint", "concat"]

STREAMS = ("audio", "visual", "joint")
_NAMED = 3  # clips named in an error


def streams(subject: Subject, part: Part, *, frames: Frames = "mean", joint: Joint = "joint") -> dict[str, Array]:
    """Returns one vector a clip for each stream that the method has, (n, D).

    Args:
        subject: The model and the clips.
        part: Which clips.
        frames: Vectors of several frames (Sync): their mean, or end to end.
        joint: The audio-visual vector: that of the joint stream, or those of the two single streams end to end.

    Raises:
        InputError: The method has no stream, or vectors are not finite.
    """
    return of_pooled(subject.pooled(part), subject.config.method_name, frames=frames, joint=joint)


def of_pooled(pooled: Pooled, method: str, *, frames: Frames = "mean", joint: Joint = "joint") -> dict[str, Array]:
    """Returns the same of vectors that are at hand.

    Args:
        pooled: The vectors.
        method: What to call the model in an error.
        frames: As for :func:`streams`.
        joint: As for :func:`streams`.

    Raises:
        InputError: As for :func:`streams`.
    """
    found = {}
    for stream in STREAMS:
        values = _stream(pooled, stream, frames, joint)
        if values is not None:
            _refuse(values, stream, pooled.ids)
            found[stream] = values
    if not found:
        raise InputError(f"method {method}: found no vector of sound, picture or both, valid: at least one.")
    return found


def _stream(pooled: Pooled, stream: str, frames: Frames, joint: Joint) -> Array | None:
    if stream == "joint" and joint == "concat":
        if pooled.audio is None or pooled.visual is None:
            return None
        return np.concatenate([_frames(pooled.audio, frames), _frames(pooled.visual, frames)], axis=1)
    values = pooled.stream(stream)
    return None if values is None else _frames(values, frames)


def _frames(values: Array, form: Frames) -> Array:
    """Returns (n, D) or (n, F D) from (n, F, D)."""
    n, frames, width = values.shape
    if frames == 1 or form == "concat":
        return values.reshape(n, frames * width)
    mean: Array = values.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def _refuse(values: Array, stream: str, ids: list[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        named = ", ".join(ids[row] for row in bad[:_NAMED].tolist()) + (", ..." if len(bad) > _NAMED else "")
        raise InputError(
            f"{stream} vectors: found values that are not finite in {len(bad)} of {len(values)} clips ({named}), valid:"
            " finite numbers; the model has diverged."
        )

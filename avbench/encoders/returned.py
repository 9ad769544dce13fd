"""What an encoder's functions returned, checked: it is used as it is, or refused in one line that says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from avbench.errors import RunError

Float32 = npt.NDArray[np.float32]
VECTORS = {2: "(B, D)", 3: "(B, F, D)"}
SHAPES = {  # by function
    **dict.fromkeys(("audio", "visual", "joint"), VECTORS),
    "patches": {4: "(B, h, w, D)", 5: "(B, F, h, w, D)"},
    "audio_tokens": {3: "(B, T, D)"},
}


def checked(value: Any, where: str, clips: Sequence[str], shapes: dict[int, str]) -> Float32:
    """Returns what a function returned as an array.

    Args:
        value: What it returned.
        where: The encoder and the function, for errors.
        clips: The clips it was called with, one row each.
        shapes: What is valid, by number of axes.

    Raises:
        RunError: It is no array of such a shape, of other clips or not finite.
    """
    valid = f"valid: {' or '.join(shapes.values())} for B = {len(clips)} clips"
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, torch.Tensor):
        kind = f"a {type(value).__name__}"
        fix = "; torch.stack makes one tensor of a list" if isinstance(value, (list, tuple)) else ""
        raise RunError(f"{where} returned {'nothing' if value is None else kind}, {valid}, a tensor of numbers{fix}.")
    if value.is_complex():
        raise RunError(f"{where} returned complex numbers, {valid}, real numbers.")
    found = np.asarray(value.detach().to("cpu", torch.float32).numpy())
    if found.ndim not in shapes or 0 in found.shape[1:]:
        raise RunError(f"{where} returned shape {tuple(found.shape)}, {valid}.")
    if len(found) != len(clips):
        raise RunError(f"{where} returned {len(found)} rows, {valid}: one for each, in their order.")
    bad = ~np.isfinite(found.reshape(len(found), -1)).all(axis=1)
    if bad.any():
        named = ", ".join(f"'{clips[row]}'" for row in np.flatnonzero(bad)[:3].tolist())
        more = f" and {int(bad.sum()) - 3} more" if bad.sum() > 3 else ""
        raise RunError(f"{where} returned values that are not finite for clip {named}{more}, valid: finite numbers.")
    return found

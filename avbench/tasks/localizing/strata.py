"""Strata of localization: samples by the area of their ground truth, and by whether their sound is heard and seen.

The rules mark a fixed share of a picture, so what is chance depends on the area: each stratum has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.sample import Annotations
from avbench.data.annotations.vggsounder import HEARD, SEEN, read_vggsounder
from avbench.errors import InputError

Bool = npt.NDArray[np.bool_]

AREAS = {"small": (0.0, 0.1), "medium": (0.1, 0.25), "large": (0.25, 1.01)}  # share of the picture, from and below
FLAGS = {"audible_visible": 1, "not_audible_visible": 0}
STRATA = (*AREAS, *FLAGS)


def flags(annotations: Annotations, path: Path) -> npt.NDArray[np.int8]:
    """Returns which samples' class is marked as heard and seen in their clip: 1, 0, or -1 of clips without marks, (n,).

    Args:
        annotations: Samples with labels of VGGSound.
        path: ``vggsounder.csv``.

    Raises:
        InputError: It cannot be read, or no sample is of a clip and a class that it has.
    """
    known = read_vggsounder(path)
    rows = {name: row for row, name in enumerate(known.ids)}
    codes = {name: code for code, name in enumerate(known.classes)}
    found = np.full(len(annotations), -1, np.int8)
    for place, sample in enumerate(annotations):
        row, code = rows.get(sample.sound_clip), codes.get(sample.label)
        if row is not None and code is not None:
            found[place] = known.marks[row, code] == HEARD | SEEN
    if (found < 0).all():
        raise InputError(
            f"task.visibility: {path}: none of {len(annotations)} samples is of a clip and a class of VGGSound that it"
            f" has; ids look like '{annotations.samples[0].sound_clip}' and '{known.ids[0]}'."
        )
    return found


def strata(outputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Bool]:
    """Returns which samples are in each stratum that has some, (n,), as far as outputs tell.

    Args:
        outputs: ``area``, the share of the picture that is ground truth, and ``visible``, of :func:`flags`; or neither.
    """
    found: dict[str, Bool] = {}
    if "area" in outputs:
        found |= {name: (outputs["area"] >= low) & (outputs["area"] < high) for name, (low, high) in AREAS.items()}
    if "visible" in outputs:
        found |= {name: outputs["visible"] == value for name, value in FLAGS.items()}
    return {name: chosen for name, chosen in found.items() if chosen.any()}

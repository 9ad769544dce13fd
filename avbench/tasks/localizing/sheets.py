"""Which samples of a localization are drawn: the first, the best and the worst, beside the map of a wrong sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avbench.data.media.images import resize_and_crop
from avbench.tasks.localizing.overlay import Tile, write_sheet

if TYPE_CHECKING:
    from avbench.tasks.base import TaskResult
    from avbench.tasks.localizing.inputs import Judged
    from avbench.tasks.localizing.scores import MapsOf, Scorer
    from avbench.tasks.subject import Subject

_RANKED = {"AP": "AP", "cIoU": "cIoU", "avs_iou": "IoU"}  # measure that orders samples, and what it is called
_NAMES = {"": "own sound", "wrong_audio": "another clip's sound"}
_LEGEND = "green: ground truth;  brighter: more similar, each map on its own scale"


def draw(
    folder: Path,
    subject: Subject,
    judged: Judged,
    rows: Mapping[str, MapsOf],
    scorer: Scorer,
    result: TaskResult,
    count: int,
) -> list[Path]:
    """Writes ``first.png`` and, where samples have scores of their own, ``best.png`` and ``worst.png``.

    Where one sheet holds all samples, it is the only one: ``best.png``, or ``first.png`` without scores.

    Args:
        folder: Where they go.
        subject: Whose clips they are.
        judged: The samples.
        rows: The maps shown: of the right sound, perhaps of the wrong one.
        scorer: Made the scores.
        result: The scores.
        count: Samples on each sheet.

    Returns:
        The files written.

    Raises:
        RunError: A frame cannot be read.
    """
    outputs = result.per_sample
    positive = np.flatnonzero(outputs["positive"])
    measure = next((name for name in _RANKED if name in outputs), "")
    sheets = {"first": positive[:count]}
    if measure:
        order = positive[np.argsort(-outputs[measure][positive], kind="stable")]
        sheets |= {"best": order[:count], "worst": order[::-1][:count]}
        sheets = {"best": order} if len(order) <= count else sheets
    written = []
    for name, chosen in sheets.items():
        if len(chosen) == 0:
            continue
        maps = {_NAMES[row]: scorer.enlarged(make(chosen)) for row, make in rows.items()}
        truths = scorer.truth(chosen)
        tiles = []
        for place, sample in enumerate(chosen.tolist()):
            frame = judged.seen.frame(int(judged.clips[sample]), int(judged.frames[sample]))
            tiles.append(
                Tile(
                    frame=resize_and_crop(frame, subject.config.input.image_size),
                    truth=truths[place],
                    maps=[(title, values[place]) for title, values in maps.items()],
                    title=_title(subject, judged, sample),
                    note=_note(result, sample, measure),
                )
            )
        which = f"{name} {len(chosen)} of {len(positive)}" if len(chosen) < len(positive) else f"all {len(chosen)}"
        heading = f"{subject.config.method_name}: {which} samples{' by ' + _RANKED[measure] if measure else ''}"
        written.append(folder / f"{name}.png")
        write_sheet(written[-1], tiles, heading, _LEGEND)
    return written


def _title(subject: Subject, judged: Judged, sample: int) -> str:
    """Returns the class; ADE20K's are numbers. Flickr-SoundNet has none."""
    label = judged.annotations.samples[sample].label
    label = label or ", ".join(subject.evaluated.labels(int(judged.clips[sample])))
    return f"class {label}" if label.isdecimal() else label or "no class"


def _note(result: TaskResult, sample: int, measure: str) -> str:
    outputs = result.per_sample
    text = str(outputs["id"][sample])
    if measure:
        text = f"{_RANKED[measure]} {_number(outputs[measure], sample)}"
        if f"wrong_audio/{measure}" in outputs:
            text += f" (another clip's sound {_number(outputs[f'wrong_audio/{measure}'], sample)})"
        text += f"   {outputs['id'][sample]}"
    return text


def _number(values: npt.NDArray[np.float64], sample: int) -> str:
    return f"{values[sample]:.2f}"

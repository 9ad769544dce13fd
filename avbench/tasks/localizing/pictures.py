"""Which samples of a localization are drawn: the first, the best and the worst, beside the map of a wrong sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avbench.data.images import resize_and_crop
from avbench.tasks.localizing.overlay import Tile, write_sheet

if TYPE_CHECKING:
    from avbench.subject import Subject
    from avbench.tasks.base import TaskResult
    from avbench.tasks.localizing.inputs import Judged
    from avbench.tasks.localizing.scores import Scorer, Source

_RANKED = {"AP": "AP", "cIoU": "cIoU", "avs_iou": "IoU"}  # measure that orders samples, and what it is called
_NAMES = {"": "own sound", "wrong_audio": "another clip's sound"}
_LEGEND = "green: ground truth;  brighter: more similar, each map on its own scale"


def draw(
    folder: Path,
    subject: Subject,
    judged: Judged,
    rows: Mapping[str, Source],
    scorer: Scorer,
    result: TaskResult,
    count: int,
) -> list[Path]:
    """Writes ``first.png`` and, where samples have scores of their own, ``best.png`` and ``worst.png``.

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
    written = []
    for name, chosen in sheets.items():
        if len(chosen) == 0:
            continue
        maps = {_NAMES[row]: scorer.enlarged(make(chosen)) for row, make in rows.items()}
        truths = scorer.truth(chosen)
        tiles = []
        for place, sample in enumerate(chosen.tolist()):
            frame = subject.evaluated.frame(int(judged.clips[sample]), int(judged.frames[sample]))
            tiles.append(
                Tile(
                    frame=resize_and_crop(frame, subject.config.input.image_size),
                    truth=truths[place],
                    maps=[(title, values[place]) for title, values in maps.items()],
                    title=str(outputs["class"][sample]) or _label(subject, int(judged.clips[sample])),
                    note=_note(result, sample, measure),
                )
            )
        heading = f"{subject.config.method_name}: {name} {len(chosen)} of {result.n} samples"
        written.append(folder / f"{name}.png")
        write_sheet(written[-1], tiles, heading, _LEGEND)
    return written


def _label(subject: Subject, clip: int) -> str:
    return ", ".join(subject.evaluated.labels(clip))


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

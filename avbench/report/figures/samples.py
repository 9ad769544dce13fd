"""What figures of samples share: which clips, and how a sound and a frame are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from avbench.errors import AvbenchError
from avbench.report.figures.base import Context, NothingToDraw, main_rows
from avbench.report.judged import input_of, open_judged
from avbench.store.rows import Row

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from avbench.data.corpus.clips import Clips

SEED = 0  # of the stream "figure clips", which chooses the clips
_PREFERRED = ("cavmae", "cavmae_sync", "avmae", "cav")  # whose samples are shown where several were trained


def chosen_row(context: Context, task: str, *, trained: Sequence[str] = ("pretrained", "checkpoint")) -> Row:
    """Returns the record whose samples are shown: CAV-MAE's of the lowest seed, or the next that there is.

    Args:
        context: The records.
        task: Of which task.
        trained: Where its weights may come from.

    Raises:
        NothingToDraw: No trained model has a record of the task.
    """
    rows = main_rows(context, context.rows(task, weights=trained))
    if not rows:
        raise NothingToDraw(f"no record of {task}; avbench run --method cavmae --task {task} --data {context.named}")
    places = {method: place for place, method in enumerate(_PREFERRED)}
    return min(rows, key=lambda row: (places.get(row.method, len(places)), row.seed))


def judged_clips(context: Context, record: dict[str, Any]) -> Clips:
    """Returns the clips of a record.

    Raises:
        NothingToDraw: They are gone.
    """
    try:
        return open_judged(record, context.results)
    except AvbenchError as error:
        raise NothingToDraw(f"run {record['id']}: {error}") from None


def drawn_ids(ids: Sequence[str], count: int) -> list[str]:
    """Returns some of the ids, the same at every call, chosen by chance and not by hand."""
    from avbench.rng import numpy_stream

    known = sorted(ids)
    return [known[i] for i in numpy_stream(SEED, "figure clips").permutation(len(known))[:count].tolist()]


def spectrogram(clips: Clips, i: int, record: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Returns a clip's log-mel picture as the model sees it, (M, T), lowest mel bin first.

    Args:
        clips: The clips.
        i: Which of them.
        record: Says what its model reads.
    """
    import torch

    from avbench.data.feed.spectrogram import log_mel

    config = input_of(record["config"])
    waveform, rate = clips.waveform(i)
    rows = log_mel(torch.from_numpy(waveform), rate, config, max_rows=config.target_length)
    picture: npt.NDArray[np.float32] = rows.T.numpy()
    return picture


def show_sound(axis: Any, picture: npt.NDArray[np.float32], **options: Any) -> None:
    """Draws a log-mel picture (M, T) without ticks.

    Args:
        axis: Where to.
        picture: (M, T).
        **options: For matplotlib's ``imshow``.
    """
    axis.imshow(picture, origin="lower", aspect="auto", cmap="magma", interpolation="nearest", **options)
    bare(axis)


def bare(axis: Any, colour: str | None = None, style: str = "-") -> None:
    """Takes ticks and grid from an axis; with a colour, frames it.

    Args:
        axis: The axis.
        colour: Of the frame; None: no frame.
        style: Of the frame's line.
    """
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set(visible=colour is not None, color=colour, linewidth=2.5, linestyle=style)

"""Reconstructions to look at: what was there, what was left, and what was made of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avbench.errors import AvbenchError
from avbench.report.figures.base import Context, Drawing, NothingToDraw, label, subplots
from avbench.report.figures.samples import bare, chosen_row, drawn_ids, judged_clips
from avbench.report.judged import inpainting

CLIPS = 3
_COLUMNS = ("original", "kept", "in-painted")


def inpainted(context: Context, ratio: float, strategies: Sequence[Any], *, frames: bool) -> list[Drawing]:
    """Draws clips, chosen by chance, side by side: a line for the frame and for the sound by masking strategy.

    Args:
        context: The records.
        ratio: Share of the patches of each modality that is removed.
        strategies: Of the sound.
        frames: Whether the frame is shown, too.

    Raises:
        NothingToDraw: No reconstruction, or its clips or weights are gone.
    """
    import pandas as pd

    row = chosen_row(context, "reconstruction")
    record = context.record(row)
    clips = judged_clips(context, record)
    # Only here: they import torch, which takes longer than all other figures together.
    from avbench.tasks.inpaint.drawing import show
    from avbench.tasks.inpaint.panels import inpaint

    ids = list(clips.ids)
    names = drawn_ids(ids, CLIPS)
    options = record["config"]["task"]
    try:
        with inpainting(record, context.results) as model:
            lines = list(
                inpaint(
                    model,
                    clips.select([ids.index(name) for name in names]),
                    strategies=strategies,
                    ratio=ratio,
                    form=options["form"],
                    seed=options["mask_seed"],
                )
            )
    except AvbenchError as error:
        raise NothingToDraw(f"run {row.id}: {error}") from None
    lines = [[panel for panel in panels if frames or panel.modality == "audio"] for panels in lines]
    heights = [1.35 if panel.modality == "visual" else 0.9 for panel in lines[0]]
    canvas, axes = subplots(
        len(heights), 3 * len(names), width=0.95, height=sum(heights) / len(heights), height_ratios=heights
    )
    table = []
    for clip, (name, panels) in enumerate(zip(names, lines, strict=True)):
        for number, panel in enumerate(panels):
            own = axes[number, 3 * clip : 3 * clip + 3]
            show(own, panel)
            for axis in own:
                bare(axis)
            own[2].set_xlabel(f"{panel.error:.3f}", fontsize=7, labelpad=1)
            table.append(
                {
                    "clip": name,
                    "modality": panel.modality,
                    "strategy": panel.strategy,
                    "ratio": ratio,
                    "mse": panel.error,
                }
            )
        for column, title in enumerate(_COLUMNS):
            axes[0, 3 * clip + column].set_title(title, fontsize=7)
    for number, panel in enumerate(lines[0]):
        words = "frame" if panel.modality == "visual" else panel.strategy.replace("_", "-\n")
        axes[number, 0].set_ylabel(words, fontsize=7)
    caption = (
        f"Clips {', '.join(names)} of {context.data}, chosen by chance: each as it is, with {ratio:.0%} of its patches"
        f" removed, and in-painted by {label(record['method'])}, seed {row.seed}. Below each, the mean squared error of"
        " what was removed."
    )
    return [
        Drawing(
            canvas,
            pd.DataFrame(table),
            caption,
            f"{len(names)} clips, each in three columns.",
            dpi=120,
            photographs=True,
        )
    ]

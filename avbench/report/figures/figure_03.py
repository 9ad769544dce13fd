"""Figure 3: what the masking strategies remove of a spectrogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avbench.report.figures.base import Context, Drawing, FigureCard, subplots
from avbench.report.figures.samples import chosen_row, drawn_ids, judged_clips, show_sound, spectrogram

if TYPE_CHECKING:
    from avbench.methods.masking import Strategy

CARD = FigureCard(title="Masking strategies on a spectrogram", source="CAV-MAE Figure 3", order=3)
_TASKS = ("retrieval", "linear_probe", "reconstruction", "classification")
_STRATEGIES: tuple[Strategy, ...] = ("time", "frequency", "time_frequency", "uniform")


def draw(context: Context) -> list[Drawing]:
    """Draws a clip's spectrogram under the four strategies, as a model of this data masks it.

    Raises:
        NothingToDraw: No trained model has a record, or its clips are gone.
    """
    import numpy as np
    import pandas as pd

    task = next((task for task in _TASKS if context.rows(task, weights=("pretrained",))), _TASKS[0])
    record = context.record(chosen_row(context, task))
    clips, patch = judged_clips(context, record), record["config"]["model"]["patch_size"]
    from avbench.methods.masking import MaskPlan  # torch, which a page without clips need not load
    from avbench.methods.positions import Grid
    from avbench.rng import torch_stream

    (name,) = drawn_ids(list(clips.ids), 1)
    picture = spectrogram(clips, list(clips.ids).index(name), record)
    ratio = record["config"]["method"].get("masking_ratio") or 0.75
    rows, columns = (size // patch for size in picture.shape)
    canvas, axes = subplots(1, len(_STRATEGIES), width=2.0, height=1.9)
    found = []
    for axis, strategy in zip(axes[0], _STRATEGIES, strict=True):
        plan = MaskPlan(Grid(rows, columns), ratio, strategy=strategy, form="exact")
        removed = plan.mask(plan.draw(1, torch_stream(0, "figure mask"))).removed[0].reshape(rows, columns).numpy()
        show_sound(axis, picture[: rows * patch, : columns * patch])
        cover = np.zeros((rows * patch, columns * patch, 4))  # RGBA, clear where a patch is kept
        cover[np.kron(removed, np.ones((patch, patch))) > 0] = (0.78, 0.78, 0.78, 1)
        axis.imshow(cover, origin="lower", aspect="auto", interpolation="nearest")
        axis.set(title=strategy.replace("_", "-"), xlabel="time")
        found.append({"clip": name, "strategy": strategy, "ratio": ratio, "removed": float(removed.mean())})
    axes[0, 0].set_ylabel("mel bin")
    caption = (
        f"What is removed (grey) of the spectrogram of clip {name} of {context.data} at masking ratio {ratio:g}, in the"
        " exact form."
    )
    return [
        Drawing(canvas, pd.DataFrame(found), caption, "Four spectrograms, with grey columns, rows, both, and tiles.")
    ]

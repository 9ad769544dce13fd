"""The cosine of a frame and its sound against how far the sound is moved, a line a method."""

from __future__ import annotations

from avbench.report.figures.base import (
    BAND,
    Context,
    Drawing,
    FigureCard,
    NothingToDraw,
    label,
    legend,
    main_rows,
    seeds_of,
    subplots,
)
from avbench.report.figures.lines import means, plot

CARD = FigureCard(title="Cosine against the offset of the sound", order=54)
_END = " s/cosine"


def draw(context: Context) -> list[Drawing]:
    """Draws the curves, each less its mean, and says how often the best offset is 0.

    Raises:
        NothingToDraw: No record of the task.
    """
    import pandas as pd

    rows = main_rows(context, context.rows("offset", weights=("pretrained", "checkpoint")))
    found, right = [], []
    for row in rows:
        curve = {float(key.removesuffix(_END)): value for key, value in row.metrics.items() if key.endswith(_END)}
        told = {"method": row.method, "seed": row.seed}
        level = sum(curve.values()) / max(1, len(curve))
        found += [{**told, "offset": offset, "value": value - level} for offset, value in curve.items()]
        right.append({**told, "value": 100 * row.metrics.get("accuracy", float("nan")), "chance": 100 / len(curve)})
    if not found:
        raise NothingToDraw(f"no record; avbench grid --methods all --tasks offset --data {context.named}")
    table = means(pd.DataFrame(found), ["offset"])
    accuracy = means(pd.DataFrame(right), ["chance"])
    canvas, axes = subplots(1, 1, width=4.2, height=2.8)
    axes[0, 0].axvline(0, color="0.6", ls=":", lw=1)
    plot(axes[0, 0], table, "offset")
    axes[0, 0].set(xlabel="offset of the sound, s", ylabel="cosine, less its mean")
    legend(canvas, axes, BAND)
    shares = ", ".join(f"{label(row.method)} {row.mean:.1f} %" for row in accuracy.itertuples())
    caption = (
        f"Cosine of a frame and the sound around it on {context.data}, less its mean over the offsets,"
        f" {seeds_of(rows)}: mean and standard deviation over seeds. The best offset is 0 for: {shares} of the clips"
        f" (chance {accuracy['chance'].iloc[0]:.1f} %)."
    )
    return [Drawing(canvas, table, caption, "Lines against the offset; one that peaks at 0 is of a model in step.")]

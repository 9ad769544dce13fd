"""Figure 5: how well removed patches are reconstructed, against how many are removed and how."""

from __future__ import annotations

import re

from avbench.report.figures.base import (
    BAND,
    Context,
    Drawing,
    FigureCard,
    NothingToDraw,
    colours,
    label,
    legend,
    main_rows,
    seeds_of,
    subplots,
)

CARD = FigureCard(title="Reconstruction against masking ratio and strategy", source="CAV-MAE Figure 5", order=5)
_KEY = re.compile(r"(?P<side>audio|visual)/(?P<strategy>\w+)@(?P<ratio>[\d.]+)/mse")
_STRATEGIES = ("uniform", "time", "frequency", "time_frequency")
_SIDES = {"audio": "sound", "visual": "frame"}


def draw(context: Context) -> list[Drawing]:
    """Draws a panel for each strategy: a line a method, its standard deviation over seeds as a band.

    Raises:
        NothingToDraw: No record of the task reconstruction.
    """
    import pandas as pd

    rows = main_rows(context, context.rows("reconstruction", weights=("pretrained", "checkpoint")))
    found = [
        {"method": row.method, "seed": row.seed, **match.groupdict(), "mse": value}
        for row in rows
        for key, value in row.metrics.items()
        if (match := _KEY.fullmatch(key))
    ]
    if not found:
        raise NothingToDraw(
            f"no reconstructions; avbench grid --methods all --tasks reconstruction --data {context.named}"
        )
    table = pd.DataFrame(found).astype({"ratio": float})
    table = (
        table.groupby(["side", "method", "strategy", "ratio"], sort=False)["mse"]
        .agg(["mean", "std", "count"])
        .reset_index()
    )
    colour = colours(list(table["method"].unique()))
    panels = [("audio", name) for name in _STRATEGIES if name in set(table["strategy"])] + [("visual", "uniform")]
    panels = [panel for panel in panels if panel[0] in set(table["side"])]
    canvas, axes = subplots(1, len(panels), width=2.2, height=2.7)
    for axis, (side, strategy) in zip(axes[0], panels, strict=True):
        part = table[(table["side"] == side) & (table["strategy"] == strategy)]
        for method in part["method"].unique():
            line = part[part["method"] == method].sort_values("ratio")
            mean, spread = line["mean"], line["std"].fillna(0)
            axis.plot(line["ratio"], mean, marker="o", ms=3, color=colour[method], label=label(method))
            axis.fill_between(line["ratio"], mean - spread, mean + spread, color=colour[method], alpha=0.12, lw=0)
        axis.set(title=f"{_SIDES[side]}, {strategy.replace('_', '-')}", xlabel="share of patches removed")
        axis.set_xticks(sorted(table["ratio"].unique()))
    sound = [axis for axis, (side, _) in zip(axes[0], panels, strict=True) if side == "audio"]
    ends = list(zip(*(axis.get_ylim() for axis in sound), strict=True))
    for axis in sound:
        axis.set_ylim(min(ends[0]), max(ends[1]))
    axes[0, 0].set_ylabel("mean squared error")
    legend(canvas, axes, BAND)
    drawing = Drawing(
        canvas,
        table,
        f"Mean squared error of removed patches on {context.data}, {seeds_of(rows)}, mean and standard deviation."
        " Lower is better; values of sound and frame do not compare, nor do those with and without normalised targets.",
        "Panels of lines that rise with the share of patches removed: one panel a masking strategy, one line a method.",
    )
    return [drawing]

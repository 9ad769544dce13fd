"""What a score costs: the metric against device-hours, a mark a method."""

from __future__ import annotations

from avbench.registry import title
from avbench.report.figures.base import (
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
from avbench.report.figures.curves import JUDGED, axis_of, judged

CARD = FigureCard(title="Score against device-hours", order=70)


def draw(context: Context) -> list[Drawing]:
    """Draws a panel a task: mean score of the seeds against the mean time of all their stages.

    Raises:
        NothingToDraw: There are no trained models.
    """
    import numpy as np
    import pandas as pd

    tasks = {task: main_rows(context, context.rows(task, weights=("pretrained",))) for task in JUDGED}
    points = [
        {
            "task": task,
            "method": row.method,
            "seed": row.seed,
            "device_minutes": 60 * context.record(row)["device_hours"],
            "metric": " and ".join(keys),
            "score": sum(row.metrics[key] for key in keys) / len(keys),
        }
        for task, rows in tasks.items()
        for row in rows
        if (keys := judged(row))
    ]
    if not points:
        raise NothingToDraw(f"no trained models; avbench grid --methods all --tasks all --data {context.named}")
    table = pd.DataFrame(points)
    shown = [task for task in JUDGED if task in set(table["task"])]
    colour = colours(list(table["method"].unique()))
    canvas, axes = subplots(1, len(shown), width=3.0, height=2.8)
    means = table.groupby(["task", "method"], sort=False)[["device_minutes", "score"]].mean()
    for axis, task in zip(axes[0], shown, strict=True):
        of_task = means.loc[task]
        name, factor = axis_of(table[table["task"] == task]["metric"], task)
        for method in (each for each in colour if each in of_task.index):
            spent, score = of_task["device_minutes"][method], of_task["score"][method]
            axis.scatter(spent, factor * score, color=colour[method], s=26, label=label(method), zorder=3)
        axis.set_xscale("log")
        axis.minorticks_off()
        minutes = of_task["device_minutes"].clip(lower=1e-3)  # 0 has no place on the axis
        axis.set_xticks(sorted({float(f"{value:.2g}") for value in np.geomspace(minutes.min(), minutes.max(), 4)}))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(
            title=title(task),
            xlabel="device-minutes of all stages",
            ylabel=name,
        )
        axis.margins(0.15)
    legend(canvas, axes)
    rows = [row for each in tasks.values() for row in each]
    caption = (
        f"Mean score against the mean time of pretraining, extraction and evaluation on {context.data},"
        f" {seeds_of(rows)}. Pretraining that several tasks share counts in each; times are of one device each, and of"
        " other machines or loads do not compare."
    )
    return [Drawing(canvas, table, caption, f"{len(shown)} panels with one mark a method; further left is cheaper.")]

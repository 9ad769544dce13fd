"""All methods: a panel for each task, a mark for each seed, with the untrained model and chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avbench.registry import title
from avbench.report.figures.base import (
    CHANCE,
    MEAN,
    TRAINED,
    UNTRAINED,
    Context,
    Drawing,
    FigureCard,
    NothingToDraw,
    colours,
    label,
    legend,
    main_rows,
    order,
    seeds_of,
    subplots,
)
from avbench.report.figures.curves import JUDGED, axis_of, judged
from avbench.store.rows import Row

CARD = FigureCard(title="The methods, task by task", order=1)


def draw(context: Context) -> list[Drawing]:
    """Draws a panel a task that two methods or more were judged by.

    Raises:
        NothingToDraw: There is none.
    """
    import pandas as pd

    tasks = {task: main_rows(context, context.rows(task)) for task in JUDGED}
    tasks = {task: rows for task, rows in tasks.items() if len({row.method for row in rows}) > 1}
    if not tasks:
        raise NothingToDraw(
            f"no task with two methods; avbench grid --methods all --tasks all --seeds 0 1 2 --data {context.named}"
        )
    points = [point for task, rows in tasks.items() for row in rows for point in _points(context, task, row)]
    table = pd.DataFrame(points)
    methods = sorted(table["method"].unique(), key=order)
    colour, place = colours(methods), {method: -number for number, method in enumerate(methods)}
    canvas, axes = subplots(1, len(tasks), width=2.6, height=0.38 * len(methods) + 1.0, sharey=True)
    for axis, task in zip(axes[0], tasks, strict=True):
        name, factor = axis_of(table[table["task"] == task]["metric"], task)
        _panel(axis, table[table["task"] == task], factor, place, colour)
        axis.set(title=title(task), xlabel=name)
        axis.set_yticks(list(place.values()), [label(method) for method in place])
    legend(canvas, axes, TRAINED, MEAN, UNTRAINED, CHANCE)
    rows = [row for each in tasks.values() for row in each]
    caption = (
        f"Scores on {context.data}, {seeds_of(rows)}: filled marks are trained models, one a seed, their mean the line;"
        " open marks are the untrained ones (some methods begin with the same weights), the dotted line is chance."
        " Retrieval: mean of both directions."
    )
    return [Drawing(canvas, table, caption, f"{len(tasks)} panels, one a task; a row of marks for each method.")]


def _points(context: Context, task: str, row: Row) -> list[dict[str, Any]]:
    keys = judged(row)
    if not keys:
        return []
    chance = context.record(row).get("chance", {})
    return [
        {
            "task": task,
            "method": row.method,
            "weights": row.weights,
            "metric": keys[0] if len(keys) == 1 else "R@10",
            "seed": row.seed,
            "score": _mean([row.metrics[key] for key in keys]),
            "chance": _mean([chance[key] for key in keys if key in chance]),
        }
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _panel(axis: Any, table: Any, factor: float, place: dict[str, int], colour: dict[str, Any]) -> None:
    for (method, weights), each in table.groupby(["method", "weights"], sort=False):
        scores, trained = factor * each["score"], weights != "untrained"
        height = [place[method]] * len(scores)
        if trained:
            axis.plot([scores.mean()] * 2, [place[method] - 0.3, place[method] + 0.3], color=colour[method], lw=1.5)
        axis.scatter(
            scores, height, s=18, facecolor=colour[method] if trained else "none", edgecolor=colour[method], zorder=3
        )
    chance = table["chance"].mean()
    if chance == chance:
        axis.axvline(factor * chance, color="0.4", ls=":", lw=1)
    axis.set_xlim(left=0)
    axis.grid(axis="y")

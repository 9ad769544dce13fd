"""Score against the severity of each corruption, a line a method; severity 0 is the clean clips.

Task ``corruption`` measures all of them in one run; of other tasks, these are runs that differ in ``data.corruption``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avbench.data.media.corrupt import PICTURES, SOUNDS
from avbench.metrics.units import unit
from avbench.registry import title
from avbench.report.figures.base import (
    BAND,
    Context,
    Drawing,
    FigureCard,
    NothingToDraw,
    label,
    legend,
    main_rows,
    subplots,
)
from avbench.report.figures.curves import JUDGED, families, judged, largest
from avbench.report.figures.lines import means, plot
from avbench.store.rows import Row

CARD = FigureCard(title="Score against the severity of corruptions", order=52)
_COLUMNS = 5
_RETRIEVAL = ("a2v/R@10", "v2a/R@10")
# What a figure is of, and its metrics: the first that a record has; their mean is drawn.
_KEYS = {
    "": (_RETRIEVAL,),
    "knn": tuple((f"{stream}/{name}",) for name in ("top1", "mAP") for stream in ("joint", "audio", "visual")),
}
_TRAINED = ("pretrained", "checkpoint")
_SETTING = "data.corruption"


def draw(context: Context) -> list[Drawing]:
    """Draws a panel for each corruption, a figure for each task whose clips were damaged.

    Raises:
        NothingToDraw: No record of damaged clips.
    """
    points = {part: list(_of_conditions(context, keys)) for part, keys in _KEYS.items()}
    points |= {task: list(_of_runs(context, task)) for task in JUDGED}
    drawings = [_drawing(context, part, found) for part, found in points.items() if found]
    if not drawings:
        raise NothingToDraw(f"no record; avbench grid --methods all --tasks corruption --data {context.named}")
    return drawings


def _of_conditions(context: Context, offered: tuple[tuple[str, ...], ...]) -> Iterator[dict[str, Any]]:
    """Yields the points of records of task ``corruption`` that have one of some sets of metrics."""
    found = {
        row.id: keys
        for row in context.rows("corruption", weights=_TRAINED)
        for keys in reversed(offered)
        if f"clean/{keys[0]}" in row.metrics
    }
    for row in main_rows(context, [row for row in context.rows("corruption", weights=_TRAINED) if row.id in found]):
        keys = found[row.id]
        for kind in (*SOUNDS, *PICTURES):
            for severity in range(6):
                name = f"{kind}@{severity}" if severity else "clean"
                values = [row.metrics[f"{name}/{key}"] for key in keys if f"{name}/{key}" in row.metrics]
                if values:
                    yield _point(row, kind, severity, keys, values)


def _of_runs(context: Context, task: str) -> Iterator[dict[str, Any]]:
    """Yields the points of runs that differ in ``data.corruption`` alone: of each method those with most values."""
    for family in largest(families(context.rows(task, weights=_TRAINED), _SETTING)):
        family = {value: rows for value, rows in family.items() if not value or "@" in value}  # others have no severity
        kinds = dict.fromkeys(value.partition("@")[0] for value in family if value)
        for value, rows in family.items():
            kind, _, severity = value.partition("@")
            for row in rows:
                keys = tuple(judged(row))
                for each in ([kind] if kind else kinds) if keys else ():
                    yield _point(row, each, int(severity or 0), keys, [row.metrics[key] for key in keys])


def _point(row: Row, kind: str, severity: int, keys: tuple[str, ...], values: list[float]) -> dict[str, Any]:
    return {
        "corruption": kind,
        "severity": severity,
        "method": row.method,
        "seed": row.seed,
        "metric": " and ".join(keys),
        "value": unit(keys[0], row.task).factor * sum(values) / len(values),
    }


def _drawing(context: Context, part: str, points: list[dict[str, Any]]) -> Drawing:
    import pandas as pd

    long = pd.DataFrame(points)
    damaged = set(long[long["severity"] > 0]["corruption"])
    kinds = [kind for kind in (*SOUNDS, *PICTURES) if kind in damaged]
    table = means(long[long["corruption"].isin(kinds)], ["metric", "corruption", "severity"])
    count = -(-len(kinds) // _COLUMNS)
    canvas, axes = subplots(count, min(_COLUMNS, len(kinds)), width=1.9, height=1.9, sharey=True)
    for axis in axes.flat[len(kinds) :]:
        axis.set_axis_off()
    metric = " and ".join(sorted(set(long["metric"])))
    for axis, kind in zip(axes.flat, kinds, strict=False):
        plot(axis, table[table["corruption"] == kind], "severity")
        axis.set(title=kind.replace("_", " "), xlabel="severity")
    for axis in axes[:, 0]:
        axis.set_ylabel(f"{', '.join(sorted({key.rpartition('/')[2] for key in metric.split(' and ')}))}, %")
    legend(canvas, axes, BAND)
    seeds = " ".join(map(str, sorted(set(long["seed"]))))
    name = title(part) if part else "score"
    caption = (
        f"{name.capitalize() if name.islower() else name} of trained models ({metric}, %) on {context.data} with"
        f" damaged clips, seeds {seeds}: mean and standard deviation over seeds. Severity 0 is the clean"
        f" clips. Mean drop: {_drops(table)}."
    )
    alt = f"{len(kinds)} panels of lines against severities from 0 to 5."
    return Drawing(canvas, table, caption, alt, part=part)


def _drops(table: Any) -> str:
    """Returns in words what each method loses, on average over the corruptions of a modality and their severities."""
    told = []
    for method, of_method in table.groupby("method", sort=False):
        sides = []
        for name, kinds in (("sound", SOUNDS), ("picture", PICTURES)):
            some = of_method[of_method["corruption"].isin(list(kinds))]
            clean, damaged = (some[some["severity"].gt(0) == wanted]["mean"] for wanted in (False, True))
            if len(clean) and len(damaged):
                sides.append(f"{name} {clean.mean() - damaged.mean():.1f}")
        told.append(f"{label(method)} {', '.join(sides)}" if sides else "")
    return "; ".join(filter(None, told))

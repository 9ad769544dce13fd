"""Curves of a metric against one setting, from records that differ in nothing else but the seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from avbench.compare.configuration import clips, group
from avbench.metrics.units import unit
from avbench.registry import title
from avbench.report.figures.base import (
    BAND,
    MARKS,
    Context,
    Drawing,
    NothingToDraw,
    colours,
    label,
    order,
    seeds_of,
    subplots,
)
from avbench.store.rows import Row

_STREAMS = tuple(f"{stream}/{name}" for stream in ("joint", "audio", "visual") for name in ("mAP", "top1"))
#: What a task is judged by in figures, the first of these that a record has; of retrieval both.
JUDGED = {
    "retrieval": ("a2v/R@10", "v2a/R@10"),
    "linear_probe": _STREAMS,
    "classification": _STREAMS,
    "localization": ("AP", "cIoU@0.5", "mIoU", "mAP"),
}
_FEW = 5  # values that have a tick each
_SINGLE_LABEL = "joint/top1", "audio/top1", "visual/top1"


def judged(row: Row) -> list[str]:
    """Returns the metrics that curves show of a record: both directions of retrieval, else one."""
    keys = JUDGED.get(row.task, ())
    if row.task == "retrieval":
        return [key for key in keys if key in row.metrics]
    # Where clips have one label each, accuracy is what the papers give.
    known = [key for key in _SINGLE_LABEL if key in row.metrics] or [key for key in keys if key in row.metrics]
    return known[:1]


def axis_of(metrics: Iterable[str], task: str) -> tuple[str, float]:
    """Returns what an axis of these metrics of a task is called, and what their values are multiplied by.

    Metrics of other units cannot share an axis: their values are drawn as they were recorded.
    """
    keys = list(metrics)
    units = {(unit(key, task).factor, unit(key, task).symbol) for key in keys}
    factor, symbol = units.pop() if len(units) == 1 else (1.0, "")
    name = " or ".join(sorted({key.rpartition("/")[2] for key in keys}))
    return (f"{name}, {symbol}" if symbol else name), factor


def families(rows: Sequence[Row], field: str) -> list[dict[Any, list[Row]]]:
    """Returns groups of records that differ in ``field`` alone, two values of it or more: value to records."""
    found: dict[str, dict[Any, list[Row]]] = {}
    for each in group(rows):
        if each.facts.get(field) is not None:
            rest = sorted((key, repr(value)) for key, value in each.facts.items() if key not in (field, "presets"))
            family = found.setdefault(repr([*rest, clips(each.first)]), {})
            family.setdefault(each.facts[field], []).extend(each.rows)
    return [family for family in found.values() if len(family) > 1]


def largest(found: Iterable[dict[Any, list[Row]]]) -> list[dict[Any, list[Row]]]:
    """Returns of each method the family with most values, then most records: a line is of one, not a mean of several.

    Other families of a method differ from it in another setting, too.
    """
    methods: dict[str, list[dict[Any, list[Row]]]] = {}
    for family in found:
        methods.setdefault(next(iter(family.values()))[0].method, []).append(family)
    return [max(each, key=lambda family: (len(family), sum(map(len, family.values())))) for each in methods.values()]


def against(context: Context, field: str, name: str, *, values: str, log: bool = False) -> Drawing:
    """Draws metrics against a setting: a panel a task, a line a method, its standard deviation over seeds as a band.

    Args:
        context: The records.
        field: The setting, as ``method.lambda_c``.
        name: What the axis is called.
        values: Values for the command that is suggested where there is nothing to draw.
        log: Whether the axis is logarithmic; a zero is drawn at its left end.

    Raises:
        NothingToDraw: No two records differ in this setting alone.
    """
    import pandas as pd

    trained = ("pretrained", "checkpoint")
    tasks = {task: largest(families(context.rows(task, weights=trained), field)) for task in JUDGED}
    tasks = {task: found for task, found in tasks.items() if found}
    if not tasks:
        command = f"for x in {values}; do avbench run --method cavmae --data {context.named} --set {field}=$x; done"
        raise NothingToDraw(f"no records that differ in {field} alone; {command}")
    points = [
        {
            "task": task,
            "method": row.method,
            "metric": key,
            "value": value,
            "seed": row.seed,
            "score": row.metrics[key],
        }
        for task, found in tasks.items()
        for family in found
        for value, rows in family.items()
        for row in rows
        for key in judged(row)
    ]
    keys = ["task", "method", "metric", "value"]
    table = pd.DataFrame(points).groupby(keys, sort=False)["score"].agg(["mean", "std", "count"]).reset_index()
    colour = colours(sorted(table["method"].unique(), key=order))
    canvas, axes = subplots(1, len(tasks), width=3.4, height=2.9)
    if all(isinstance(value, bool) for value in table["value"]):
        table["value"] = ["yes" if value else "no" for value in table["value"]]
    text = not pd.api.types.is_numeric_dtype(table["value"])
    for axis, task in zip(axes[0], tasks, strict=True):
        of_task = table[table["task"] == task]
        name_of_axis, factor = axis_of(of_task["metric"], task)
        for method, metric in dict.fromkeys(zip(of_task["method"], of_task["metric"], strict=True)):
            line = of_task[(of_task["method"] == method) & (of_task["metric"] == metric)]
            line = line.sort_values("value")
            mean, spread = factor * line["mean"], factor * line["std"].fillna(0)
            dash = "--" if metric.startswith("v2a") else "-"
            suffix = {"a2v": ", audio → visual", "v2a": ", visual → audio"}.get(metric.partition("/")[0], "")
            name_of_line = f"{label(method)}{suffix}"
            axis.plot(line["value"], mean, dash, marker="o", ms=3, color=colour[method], label=name_of_line)
            if text:  # there is nothing between two words
                axis.lines[-1].set_linewidth(0.6)
                axis.vlines(line["value"], mean - spread, mean + spread, color=colour[method], alpha=0.4, lw=4)
            else:
                axis.fill_between(line["value"], mean - spread, mean + spread, color=colour[method], alpha=0.12, lw=0)
        if log and not text:
            smallest = min(value for value in table["value"] if value > 0)
            axis.set_xscale("symlog", linthresh=smallest)
            if len(found := sorted(table["value"].unique())) <= _FEW:  # of powers of ten there might be one
                axis.set_xticks(found)
                axis.set_xticks([], minor=True)
            axis.xaxis.set_major_formatter("{x:g}")  # powers of ten would be formulas, which are not read
        axis.set(title=title(task), xlabel=name, ylabel=name_of_axis)
        axis.plot([], [], color="0.4", label=BAND, **MARKS[BAND])
        axis.legend(fontsize="x-small")
    rows = [row for found in tasks.values() for family in found for each in family.values() for row in each]
    sign = [-1 if unit(key, task).lower else 1 for key, task in zip(table["metric"], table["task"], strict=True)]
    merit = (table["mean"] * sign).groupby([table[key] for key in ("task", "method", "metric")], sort=False)
    top = table.loc[merit.idxmax()]
    best = [
        f"{label(method)}, {metric}: {value}"
        for method, metric, value in zip(top["method"], top["metric"], top["value"], strict=True)
    ]
    return Drawing(
        canvas,
        table,
        f"Scores against {name} ({field}) on {context.data}, {seeds_of(rows)}, mean and standard deviation. Best mean:"
        f" {'; '.join(best)}.",
        f"{len(tasks)} panels of lines of the score against {name}.",
        part=field.rpartition(".")[2],
    )

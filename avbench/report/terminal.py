"""Records as a table for a terminal: one row for each method and weights, its spread over seeds, and chance."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

COLUMNS = ("R@1", "R@5", "R@10", "median_rank")
DIRECTIONS = {"a2v": "audio → visual", "v2a": "visual → audio"}
NAMES = {"median_rank": "median rank"}
NOTE = "[95 % bootstrap interval over clips], ° contains chance"


def render(records: Sequence[dict[str, Any]]) -> str:
    """Returns records of one task and one set of clips as text.

    Fractions are printed in percent. One record a row: value and 95 % bootstrap interval. Several that differ in the
    seed only: mean and standard deviation over seeds, and the mean of their intervals, which is not too narrow whatever
    the correlation of the seeds. Where the interval contains chance, the cell says so.
    """
    first = records[0]
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: (record["method"], record["weights"] != "untrained")):
        weights = record["weights"]
        label = record["method"] if weights == "pretrained" else f"{record['method']} ({weights})"
        groups.setdefault(label, []).append(record)
    seeds = sorted({record["seed"] for record in records})
    spread = "± standard deviation over seeds, " if len(seeds) > 1 else ""
    title = (
        f"{first['task']} on {first['data']}, split {first['split']}, n = {first['n']} clips,"
        f" seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}; in %, {spread}{NOTE}"
    )
    return f"{title}\n\n{_table(groups, first)}"


def render_evaluation(result: dict[str, Any]) -> str:
    """Returns what ``evaluate --features`` found, in the JSON form, as text."""
    title = f"{result['task']}, n = {result['n']} clips; in %, {NOTE}"
    return f"{title}\n\n{_table({'features': [result]}, result)}"


def _table(groups: dict[str, list[dict[str, Any]]], first: dict[str, Any]) -> str:
    """Returns one row for each group and direction (or one a group, where metrics have no direction)."""
    from tabulate import tabulate

    directions = [name for name in DIRECTIONS if any(metric.startswith(f"{name}/") for metric in first["metrics"])]
    prefixes = [f"{name}/" for name in directions] or [""]
    names = [name for name in COLUMNS if prefixes[0] + name in first["metrics"]] or sorted(first["metrics"])
    rows = [["chance", "", *(_chance(first, prefixes[0] + name) for name in names)]]
    for label, group in groups.items():
        for prefix in prefixes:
            direction = DIRECTIONS.get(prefix.rstrip("/"), "")
            rows.append([label, direction, *(_cell(group, prefix + name) for name in names)])
            label = ""  # named once
    headers = ["", "", *(NAMES.get(name, name) for name in names)]
    align = ["left", "left", *("right" for _ in names)]
    return tabulate(rows, headers=headers, colalign=align, disable_numparse=True)


def _scale(metric: str) -> tuple[float, int]:
    """Returns factor and decimals: ranks as they are, fractions in percent."""
    return (1.0, 1) if metric.endswith("_rank") else (100.0, 2)


def _chance(record: dict[str, Any], metric: str) -> str:
    value = record.get("chance", {}).get(metric)
    factor, digits = _scale(metric)
    return "–" if value is None else f"{value * factor:.{digits}f}"


def _cell(group: Sequence[dict[str, Any]], metric: str) -> str:
    factor, digits = _scale(metric)
    values = [record["metrics"][metric] * factor for record in group]
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    bounds = [record.get("ci95", {}).get(metric) for record in group]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(group):
        return text
    low, high = (statistics.mean(ends) for ends in zip(*known, strict=True))
    chance = group[0].get("chance", {}).get(metric)
    mark = "°" if chance is not None and low <= chance <= high else " "
    return f"{text} [{low * factor:.1f}, {high * factor:.1f}]{mark}"

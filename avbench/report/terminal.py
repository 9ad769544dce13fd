"""Records as a table for a terminal: one row for each method and weights, its spread over seeds, and chance."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

RETRIEVAL_COLUMNS = ("R@1", "R@5", "R@10", "median_rank")
DIRECTIONS = {"a2v": "audio → visual", "v2a": "visual → audio"}
NAMES = {"median_rank": "MedR", "mean_rank": "MeanR"}


def render(records: Sequence[dict[str, Any]]) -> str:
    """Returns records of one task and one set of clips as text.

    Fractions are printed in percent. One record: value and 95 % bootstrap interval. Several that differ in the seed
    only: mean and standard deviation over seeds.
    """
    from tabulate import tabulate

    first = records[0]
    metrics = _columns(first["metrics"])
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["method"], record["weights"]), []).append(record)
    rows = [["chance", *(_chance(first, metric) for metric in metrics)]]
    for (method, weights), group in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] != "untrained")):
        label = method if weights == "pretrained" else f"{method} ({weights})"
        rows.append([label, *(_cell(group, metric) for metric in metrics)])
    seeds = sorted({record["seed"] for record in records})
    spread = "± standard deviation over seeds" if len(seeds) > 1 else "[95 % bootstrap interval over queries]"
    title = (
        f"{first['task']} on {first['data']}, split {first['split']}, n = {first['n']} clips,"
        f" seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}; R@k in %, {spread}"
    )
    headers = ["", *(_header(metric) for metric in metrics)]
    return f"{title}\n\n{tabulate(rows, headers=headers, stralign='right', disable_numparse=True)}"


def _columns(metrics: dict[str, float]) -> list[str]:
    wanted = [f"{direction}/{name}" for direction in DIRECTIONS for name in RETRIEVAL_COLUMNS]
    return [name for name in wanted if name in metrics] or sorted(metrics)


def _header(metric: str) -> str:
    direction, _, name = metric.partition("/")
    return f"{DIRECTIONS[direction]}\n{NAMES.get(name, name)}" if direction in DIRECTIONS else metric


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
    if len(values) > 1:
        return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
    low, high = group[0].get("ci95", {}).get(metric, (None, None))
    interval = "" if low is None else f" [{low * factor:.1f}, {high * factor:.1f}]"
    return f"{values[0]:.{digits}f}{interval}"

"""Records as a table for a terminal: one row for each method and weights, its spread over seeds, and chance."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from avbench.compare.configuration import group
from avbench.metrics.units import unit
from avbench.store.reader import row_of

Intervals = Callable[[Sequence[dict[str, Any]], str], tuple[float, float] | None]
NONE = "–"
DIRECTIONS = {
    "a2v": "audio → visual",
    "v2a": "visual → audio",
    "a2a": "audio → audio",
    "v2v": "visual → visual",
}
NOTE = "[95 % interval over clips], ° contains chance"
NOTE_SEEDS = "[95 % interval over seeds and clips], ° contains chance"


def render(records: Sequence[dict[str, Any]], results: Path | None = None) -> str:
    """Returns records of one task and one set of clips as text.

    Each metric is printed in its unit. One record a row: value and 95 % interval. Several that differ in the seed only
    (:func:`avbench.compare.configuration.group`): mean, standard deviation and interval over seeds, where their outputs
    are there. Where the interval contains chance, the cell says so.

    Args:
        records: The records.
        results: Where their per-sample outputs are; None: they are not kept.
    """
    shown, counts = records[0], sorted({record["n"] for record in records})
    groups: dict[str, list[dict[str, Any]]] = {}
    own = {record["id"]: record for record in records}
    found = group(row_of(record, results or Path()) for record in records)
    for each in sorted(found, key=lambda each: (each.first.method, each.first.weights != "untrained")):
        first = each.first
        plain = first.weights == "pretrained" or "encoder" in first.config.settings  # whose weights are always its own
        label = first.method if plain else f"{first.method} ({first.weights})"
        alike = sum(name.partition(", ")[0] == label for name in groups)
        groups[f"{label}, {alike + 1}" if alike else label] = [own[row.id] for row in each.rows]
    seeds = sorted({record["seed"] for record in records})
    spread = "± standard deviation over seeds, " if len(seeds) > 1 else ""
    note = NOTE_SEEDS if len(seeds) > 1 else NOTE
    title = (
        f"{shown['task']} on {shown['data']}, split {shown['split']}, n = {' or '.join(map(str, counts))} clips,"
        f" seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}; {_unit(records)}{spread}{note}"
    )
    return "\n\n".join([title, _table(groups, shown["task"], results), *_other_clips(groups)])


def _other_clips(groups: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Returns a footnote where rows, or the seeds of one, are of other clips."""
    judged: dict[tuple[str, int], list[str]] = {}
    for label, members in groups.items():
        for record in members:
            rows = judged.setdefault((record["ids_sha256"], record["n"]), [])
            rows += [] if label in rows else [label]
    if len(judged) < 2:
        return []
    sets = "; ".join(f"n = {n}: {', '.join(rows)}" for (_, n), rows in judged.items())
    note = f"Not all of these judge the same clips ({sets}): numbers of other clips do not compare."
    return [f"{note}\navbench compare RUN RUN --common-ids computes them again for the clips in common."]


def render_evaluation(result: dict[str, Any], label: str) -> str:
    """Returns what ``evaluate`` found in a file of features or heat maps, in the JSON form, as text."""
    title = f"{result['task']}, n = {result['n']} clips; {_unit([result])}{NOTE}"
    return f"{title}\n\n{_table({label: [result]}, result['task'])}"


def _unit(records: Sequence[dict[str, Any]]) -> str:
    task = records[0]["task"]
    names = {key.rpartition("/")[2] for record in records for key in record["metrics"]}
    symbols = _symbols(names & set(columns(task)) or names, task)
    return f"in {symbols.pop()}, " if len(symbols) == 1 else ""


def _symbols(names: Iterable[str], task: str) -> set[str]:
    """Returns the units of metrics; one alone is named in the title, several in the headers."""
    return {unit(name, task).symbol for name in names} - {""}


def _header(name: str, task: str, *, several: bool) -> str:
    shown = unit(name, task)
    return f"{shown.name or name}, {shown.symbol}" if several and shown.symbol else shown.name or name


def _table(groups: dict[str, list[dict[str, Any]]], task: str, results: Path | None = None) -> str:
    """Returns one row for each group and for what comes before the last part of its metrics' names, if anything."""
    from tabulate import tabulate

    records = [record for members in groups.values() for record in members]
    keys = dict.fromkeys(key for record in records for key in record["metrics"])
    names = list(dict.fromkeys(key.rpartition("/")[2] for key in keys))
    shown = [name for name in columns(task) if name in names] or names
    prefixes = list(dict.fromkeys(key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] in shown))

    def row(label: str, prefix: str, cell: Callable[[str], str]) -> list[str]:
        return [
            label,
            DIRECTIONS.get(prefix, prefix),
            *(cell(f"{prefix}/{name}" if prefix else name) for name in shown),
        ]

    sets: dict[tuple[str, int], dict[str, float]] = {}
    for record in records:
        sets.setdefault((record["ids_sha256"], record["n"]), {}).update(record.get("chance", {}))
    rows = []
    for (_, n), chance in sets.items():
        label = "chance" if len(sets) == 1 else f"chance (n = {n})"
        lines = [row(label, prefix, lambda metric, chance=chance: _chance(chance, metric, task)) for prefix in prefixes]  # type: ignore[misc]
        one = all(line[2:] == lines[0][2:] for line in lines)  # for all
        rows += [[label, "", *lines[0][2:]]] if one else lines
    ends = _intervals(results)
    for label, members in groups.items():
        cell = functools.partial(_cell, members, intervals=ends)
        rows += [row(label, prefix, cell) for prefix in prefixes]
    rows = [line for line in rows if any(cell.strip(NONE) for cell in line[2:])]
    for before, line in reversed(list(pairwise(rows))):
        line[0] = "" if line[0] == before[0] else line[0]  # named once
    several = len(_symbols(shown, task)) > 1
    headers = ["", "", *(_header(name, task, several=several) for name in shown)]
    align = ["left", "left", *("right" for _ in shown)]
    return tabulate(rows, headers=headers, colalign=align, disable_numparse=True)


def columns(task: str) -> tuple[str, ...]:
    """Returns the last parts of the metrics that tables of a task show; none: all."""
    from avbench import registry

    shown: tuple[str, ...] = registry.find("task", task).card.get("columns", ())
    return shown


def _chance(chance: Mapping[str, float], metric: str, task: str) -> str:
    value, shown = chance.get(metric), unit(metric, task)
    return NONE if value is None else f"{value * shown.factor:.{shown.digits}f}"


def _intervals(results: Path | None) -> Intervals:
    """Returns the interval of a metric of records: of one that it has, of several over seeds and clips."""
    outputs: list[Any] = []  # opened for the first that needs it

    def of(members: Sequence[dict[str, Any]], metric: str) -> tuple[float, float] | None:
        if len(members) == 1:
            ends = members[0].get("ci95", {}).get(metric)
            return None if ends is None else (float(ends[0]), float(ends[1]))
        if results is None:
            return None
        from avbench.compare.outputs import Outputs, measured

        outputs[:] = outputs or [Outputs(results)]
        found: tuple[float, float] | None = outputs[0].interval(
            measured([row_of(record, results) for record in members], metric)
        )
        return found

    return of


def _cell(members: Sequence[dict[str, Any]], metric: str, intervals: Intervals) -> str:
    shown = unit(metric, members[0]["task"])
    factor, digits = shown.factor, shown.digits
    values = [record["metrics"][metric] * factor for record in members if metric in record["metrics"]]
    if not values:
        return ""
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    ends = intervals(members, metric)
    if ends is None:
        return text
    chance = members[0].get("chance", {}).get(metric)
    mark = "°" if chance is not None and ends[0] <= chance <= ends[1] else " "
    return f"{text} [{ends[0] * factor:.{shown.coarse}f}, {ends[1] * factor:.{shown.coarse}f}]{mark}"

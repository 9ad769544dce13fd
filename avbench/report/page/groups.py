"""Records by what they share but for the seed: the rows of the leaderboard."""

from __future__ import annotations

import functools
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.compare.configuration import Group, clips, group
from avbench.compare.outputs import Measured, measured
from avbench.compare.terminal import DIRECTIONS, columns
from avbench.metrics.units import unit
from avbench.registry import title
from avbench.report.ranking import Judge
from avbench.store.rows import Row

MainClips = dict[tuple[str, str], str]  # task and data set to the clips that most rows judge
# References that no method changes; of two methods with the same, none is the better.
_CONTROLS = ("centre_disc", "mean_mask", "oracle", "random", "whole_image", "wrong_audio")
_STREAMS = ("joint", "audio", "visual")  # in this order
_NAMED = 3  # settings named in a row


@dataclass(frozen=True, eq=False)
class BoardRow(Group):
    """Records that differ in the seed alone, as a row of the leaderboard.

    Attributes:
        settings: What tells them from other rows of the same method, weights, data and task, as ``key=value``.
        judge: Of the results they are from.
    """

    settings: tuple[str, ...] = ()
    judge: Judge = field(kw_only=True, repr=False)

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Task, data, method and weights."""
        first = self.first
        return first.task, first.data, first.method, first.weights

    @property
    def clips(self) -> str:
        """What was judged; see :func:`avbench.compare.configuration.clips`."""
        return clips(self.first)

    def measured(self, key: str) -> Measured:
        """Returns what the mean of a metric is of, as it is tested."""
        return measured(self.rows, key)

    @functools.cached_property
    def values(self) -> dict[str, list[float | None]]:
        """Mean, standard deviation, low and high end and chance of each metric; of one seed there is no deviation."""
        return {key: self._value(key) for key in dict.fromkeys(key for row in self.rows for key in row.metrics)}

    def _value(self, key: str) -> list[float | None]:
        found = self.measured(key)
        values = [run.value for run in found.runs]
        chances = [run.chance for run in found.runs if run.chance is not None]
        low, high = self.judge.ends(found) or (None, None)
        return [
            statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            low,
            high,
            statistics.fmean(chances) if chances else None,
        ]


def board(rows: Sequence[Row], results: Path) -> list[BoardRow]:
    """Returns the leaderboard: in order of task, data, method and weights (trained ones first)."""
    places: dict[tuple[str, ...], list[Group]] = {}
    for each in group(rows):
        first = each.first
        places.setdefault((first.method, first.weights, first.data, first.task), []).append(each)
    found, judge = [], Judge(results)
    for groups in places.values():
        told = _told_apart(
            [{**each.facts, "ids": each.first.ids_sha256, "content": each.first.data_sha256} for each in groups]
        )
        found += [
            BoardRow(each.facts, each.rows, each.older, settings, judge=judge)
            for each, settings in zip(groups, told, strict=True)
        ]
    return sorted(found, key=lambda each: (*each.place[:3], each.place[3] == "untrained", each.settings))


def main_clips(groups: Sequence[BoardRow]) -> MainClips:
    """Returns, of each task and data set, the clips that most rows judge: rows of others do not compare with them."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for each in sorted(groups, key=lambda each: each.first.weights == "untrained"):  # decides nothing but ties
        counts.setdefault(each.place[:2], Counter())[each.clips] += 1
    return {place: found.most_common(1)[0][0] for place, found in counts.items()}


def competes(each: BoardRow, main: MainClips) -> bool:
    """Tells whether a row can be the best: of the clips that most rows judge, and of a trained model."""
    return each.first.weights != "untrained" and each.clips == main[each.place[:2]]


def _told_apart(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Returns the settings in which rows differ, of each."""
    keys = [
        key for key in dict.fromkeys(key for row in rows for key in row) if len({str(row.get(key)) for row in rows}) > 1
    ]
    # A setting most rows share goes without saying.
    usual = {key: Counter(str(row.get(key)) for row in rows).most_common(1)[0] for key in keys}
    told = []
    for row in rows:
        named = [
            f"{key.partition('.')[2] or key}={_short(row.get(key))}"
            for key in keys
            if len(rows) == 2 or usual[key][1] == 1 or str(row.get(key)) != usual[key][0]
        ]
        told.append((*named[:_NAMED], *([f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else [])))
    return told


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def metric_info(key: str, task: str = "") -> dict[str, Any]:
    """Returns how a metric of a task is shown: label, factor, unit, decimals, and whether higher is better."""
    prefix, _, name = key.rpartition("/")
    shown = unit(key, task)
    words = [DIRECTIONS.get(part, part.replace("_", " ")) for part in prefix.split("/") if part]
    return {
        "label": ", ".join([shown.name or name, *words]),
        "factor": shown.factor,
        "unit": shown.symbol,
        "digits": shown.coarse,
        "up": not shown.lower,
        "ranked": key.partition("/")[0] not in _CONTROLS,
    }


def task_info(task: str, groups: Sequence[BoardRow]) -> dict[str, Any]:
    """Returns a task's metrics in the order to offer them, and the one that is shown first.

    First are those its tables show; of them, the first that most rows have.
    """
    counts = Counter(key for each in groups for key in each.values)
    try:
        shown = columns(task)
    except Exception:  # a task of a package that is not installed here
        shown = ()

    def place(key: str) -> tuple[bool, int, int, int, int]:
        prefix, _, name = key.rpartition("/")
        stream = next((i for i, each in enumerate(_STREAMS) if each in prefix.split("/")), len(_STREAMS))
        column = shown.index(name) if name in shown else len(shown)
        return key.partition("/")[0] in _CONTROLS, column, prefix.count("/"), stream, -counts[key]

    keys = sorted(counts, key=place)
    offered = [key for key in keys if key.rpartition("/")[2] in shown] or keys
    most = max(counts.values(), default=0)
    first = next((key for key in offered if 2 * counts[key] > most), "")
    main = [key for key in offered if not place(key)[0]]
    return {"title": title(task), "metrics": main, "more": [key for key in keys if key not in main], "first": first}

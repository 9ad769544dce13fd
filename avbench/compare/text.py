"""A comparison as text for a terminal."""

from __future__ import annotations

from typing import Any

from avbench.compare.comparison import Comparison, MetricPair, RunPair
from avbench.compare.terminal import NONE
from avbench.metrics.units import Unit, unit

LONGEST = 40  # characters of a setting's value


def render(comparison: Comparison) -> str:
    """Returns what differs in the settings, a column a run, and a table of metrics for each pair."""
    from tabulate import tabulate

    runs = comparison.runs
    lines = [f"{run.id}  {run.name}, n = {run.record['n']}" for run in runs]
    settings = [[key, *map(_value, values)] for key, values in comparison.config.items()]
    table = tabulate(settings, headers=["setting", *(run.id for run in runs)], disable_numparse=True)
    parts = ["\n".join(lines), table if settings else "no setting differs"]
    return "\n\n".join(parts + [_pair(pair, comparison.resamples) for pair in comparison.pairs])


def _value(value: Any) -> str:
    text = NONE if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _pair(pair: RunPair, resamples: int) -> str:
    from tabulate import tabulate

    names = pair.shown
    same = [name for name in names if _same(pair.rows[name])]
    units = {name: unit(name, pair.first.record["task"]) for name in names}
    rows = [[name, *_cells(units[name], pair.rows[name])] for name in names if name not in same]
    statistics = pair.n is not None
    headers = ["", pair.first.id, pair.second.id, "difference", "95 % interval", "p", "p (Holm)", "p (signs)"]
    title = f"{pair.first.record['task']}, {pair.second.id} less {pair.first.id}"
    if statistics:
        title += (
            f", n = {pair.n}\n{resamples} paired resamples: {pair.first.task.resampled}; of these weights, not of other"
            " seeds\np (Holm): for all that is tested here; p (signs): models exchanged sample by sample"
        )
    else:
        title += ", on other samples"
    width = None if statistics else 4
    align = ["left", *("right" for _ in headers[1:width])]
    lines = [tabulate([row[:width] for row in rows], headers[:width], colalign=align, disable_numparse=True)]
    if not rows:
        lines = []
    if same:
        lines.append(
            f"the same in both: {', '.join(f'{name} {_cells(units[name], pair.rows[name])[0]}' for name in same)}"
        )
    if pair.left_out:
        lines.append(f"not known for these samples alone: {', '.join(pair.left_out)}")
    return "\n\n".join([title, *lines])


def _same(row: MetricPair) -> bool:
    """Tells whether a metric differs in no resample, as the values of controls that no model changes."""
    found = row.paired
    return row.difference == 0 and found is not None and found.low == found.high == 0


def _cells(shown: Unit, row: MetricPair) -> list[str]:
    found = row.paired

    def number(value: float | None, sign: str = "") -> str:
        return NONE if value is None else f"{value * shown.factor:{sign}.{shown.digits}f}"

    def p(value: float | None) -> str:
        return NONE if value is None else f"{value:.4f}" if value >= 0.0001 else "< 0.0001"

    low, high = (None, None) if found is None else (found.low, found.high)
    interval = NONE if low is None else f"[{number(low, '+')}, {number(high, '+')}]"
    ps = (None, None, None) if found is None else (found.p, row.p_holm, found.p_flips)
    return [number(row.first), number(row.second), number(row.difference, "+"), interval, *map(p, ps)]

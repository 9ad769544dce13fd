"""The sentences below a table: what was measured, tested and published, and what its marks mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from avbench.metrics.units import unit
from avbench.report import ranking
from avbench.report.ranking import ALPHA, Family
from avbench.report.tables.layout import Layout
from avbench.report.tables.selection import Found
from avbench.report.tables.table import Cell

Place = tuple[int, int]  # row among the layout's rows, column


def notes_of(
    layout: Layout, cells: Mapping[Place, Cell], found: Mapping[Place, Found], family: Family[Place]
) -> list[str]:
    """Returns the sentences below a table.

    Args:
        layout: What it asks for.
        cells: What it shows.
        found: The records behind its cells.
        family: What the tests found.
    """
    own = [cell for cell in cells.values() if cell.mean is not None]
    notes = []
    if own:
        spread = any(cell.n_seeds > 1 for cell in own)
        notes.append(
            f"Measured here: {'mean ± standard deviation over seeds' if spread else 'one seed'}; best in bold, second"
            " underlined, of what was measured here."
        )
        notes += _tests(cells, family)
    if any(cell.published is not None for cell in cells.values()):
        notes.append(
            "In brackets: published"
            + (", and the difference to it." if any(c.difference is not None for c in own) else ".")
        )
    if any(cell.runnable and cell.mean is None for cell in cells.values()):
        notes.append(f"{ranking.DASH} not measured here (avbench tables --missing).")
    used = {mark for cell in own for mark in cell.marks} - {ranking.UNTESTED}
    for mark in ranking.MARKS:
        if mark in used:
            more = f": {_unlike(found)}" if mark == ranking.OTHER_SETTINGS else ""
            notes.append(f"{ranking.meaning(mark)}{more}.")
    notes += layout.entry.notes if layout.data is None else ()
    return notes


def _tests(cells: Mapping[Place, Cell], family: Family[Place]) -> list[str]:
    """Returns what the tests are, what their marks mean, and which difference they could have found."""
    reasons = ", ".join(sorted({cell.untested for cell in cells.values()} - {""}))
    if not any(cell.p is not None for cell in cells.values()):
        return [f"Nothing is tested against the best ({reasons})."] if reasons else []
    notes = [
        f"Tested against the best over seeds and clips, at {100 * ALPHA:.0f} % for the {family.tests} pairs of this"
        f" table together (Holm); unmarked: separated, {ranking.meaning(ranking.TIED)}"
        + (f", {ranking.meaning(ranking.UNTESTED)} ({reasons})." if reasons else ".")
    ]
    short = Counter(metric.rpartition("/")[2] for _, metric in family.shown)
    shown = []
    for (task, metric), size in family.shown.items():
        own, last = unit(metric, task), metric.rpartition("/")[2]
        name = (own.name or last) if short[last] == 1 else metric  # two of a name are told apart by the whole
        value = size * own.factor
        shown.append(f"{name} {'over 100' if own.symbol == '%' and value > 100 else f'{value:.{own.coarse}f}'}")
    return [*notes, f"Smallest difference that this could have shown (80 % power): {', '.join(dict.fromkeys(shown))}."]


def _unlike(found: Mapping[Place, Found]) -> str:
    seen: dict[str, Any] = {}
    for each in found.values():
        for key, own, wanted in each.unlike:
            seen.setdefault(
                f"{key} {own} ({wanted:g})" if isinstance(wanted, float) else f"{key} {own} ({wanted})", None
            )
    return ", ".join(seen)

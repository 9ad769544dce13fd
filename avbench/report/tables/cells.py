"""From an entry and the records to a table: numbers, what is best, what cannot be told apart, what was published."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench.metrics.units import unit
from avbench.report.archive import Archive
from avbench.report.tables import marks
from avbench.report.tables.entry import RowEntry, SpanEntry, TableEntry
from avbench.report.tables.layout import Layout, digits, lay_out, title
from avbench.report.tables.selection import Found, Query, find
from avbench.report.tables.separation import Judge, ensemble
from avbench.report.tables.table import Cell, Column, Group, Row, Table
from avbench.running.given import WEIGHTS

Place = tuple[int, int]  # row among the layout's rows, column


class Builder:
    """Builds tables of one results folder."""

    def __init__(self, results: Path) -> None:
        self.archive = Archive(results)
        self.judge = Judge(results)

    def build(self, entry: TableEntry, data: str | None) -> Table:
        """Returns a table of an entry, on the paper's data or on another data set."""
        layout = lay_out(entry, data)
        rows = [*layout.rows, *self._given(layout)]
        found = self._find(layout, rows)
        cells = {
            place: self._cell(layout, rows[place[0]], place[1], found.get(place)) for place in _places(layout, rows)
        }
        clips = {place: each.clips for place, each in found.items()}
        for i, row in enumerate(rows):
            for span in row.spans:
                own, judged = self._span(layout, rows, i, span)
                cells |= own
                clips |= judged
        columns = [self._column(layout, cells, column) for column in range(len(layout.columns))]
        controls = {i for i, row in enumerate(rows) if row.control}
        for column, shown in enumerate(columns):
            compared = _compared(controls, cells, clips, column)
            self._judge(compared, cells, found, shown)
        body: list[Group | Row] = [
            Group(label=row.group)
            if row.group
            else Row(stub=row.stub, cells=tuple(cells[i, column] for column in range(len(columns))))
            for i, row in enumerate(rows)
        ]
        return Table(
            id=entry.id,
            title=entry.title,
            caption=_caption(layout),
            data=data,
            stub=(entry.other_stub or entry.stub) if data else entry.stub,
            columns=tuple(columns),
            rows=tuple(body),
            notes=tuple(_notes(layout, cells, found)),
        )

    def _given(self, layout: Layout) -> list[RowEntry]:
        """Returns rows of what was judged from files, below a heading, in tables that compare methods."""
        if len({row.method for row in layout.entry.rows if row.method}) < 2:
            return []
        names = sorted({r.config.facts["method"] for r in self.archive.rows if r.config.facts["weights"] == WEIGHTS})
        stub = len((layout.entry.other_stub or layout.entry.stub) if layout.data else layout.entry.stub)
        rows = [RowEntry(stub=(name, *[""] * (stub - 1)), method=name, where={"weights": WEIGHTS}) for name in names]
        kept = [row for row in rows if self._find(layout, [row])]
        return [RowEntry(group="Judged from files"), *kept] if kept else []

    def _find(self, layout: Layout, rows: Sequence[RowEntry]) -> dict[Place, Found]:
        found: dict[Place, Found] = {}
        for i, column in _places(layout, rows):
            query = layout.query(rows[i], column)
            records = find(self.archive, query) if query is not None else None
            if records is not None:
                found[i, column] = records
        return found

    def _cell(self, layout: Layout, row: RowEntry, column: int, found: Found | None) -> Cell:
        number = layout.number(row, column) if layout.has_cell(row, column) else None
        runnable = layout.query(row, column) is not None and row.where.get("weights") != WEIGHTS
        cell = Cell(runnable=runnable)
        if number is not None:
            cell = dataclasses.replace(cell, published=number.value, published_text=number.text)
        if found is None:
            return cell
        factor = unit(found.metric, layout.columns[column].task).factor
        cell = measured(cell, [value * factor for value in found.values])
        counts = {record.n for record in found.records}
        n = counts.pop() if len(counts) == 1 else None
        signs = [marks.OTHER_N] if number is not None and layout.columns[column].n not in (None, n) else []
        signs += [marks.OTHER_SETTINGS] if found.unlike else []
        signs += [marks.OURS] if row.ours and layout.data is None else []
        ids = tuple(record.id for record in found.records)
        return dataclasses.replace(cell, n=n, run_ids=ids, marks=tuple(signs))

    def _span(
        self, layout: Layout, rows: Sequence[RowEntry], i: int, span: SpanEntry
    ) -> tuple[dict[Place, Cell], dict[Place, str]]:
        """Returns the cells of a span, the one that is seen and those it covers, and which clips it judged."""
        if span.column not in layout.origin:
            return {}, {}
        judged: dict[Place, str] = {}
        column = layout.origin.index(span.column)
        number = layout.number(rows[i], column, **span.published)
        cell = Cell(rows=span.rows, columns=span.columns, runnable=bool(span.ensemble))
        if number is not None:
            cell = dataclasses.replace(cell, published=number.value, published_text=number.text)
        if span.ensemble:
            metric = layout.metric(rows[i], column).rpartition("/")[2]
            pair = [find(self.archive, query) for query, _ in ensemble_queries(layout, rows[i], span)]
            if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
                values = ensemble(self.archive.results, pair[0].records, pair[1].records, metric)
                if values:
                    factor = unit(metric, layout.columns[column].task).factor
                    judged[i, column] = pair[0].clips
                    ids = tuple(record.id for each in pair if each for record in each.records)
                    cell = dataclasses.replace(
                        measured(cell, [value * factor for value in values]), run_ids=ids, n=pair[0].records[0].n
                    )
        covered = Cell(covered=True, runnable=False)
        place = {(i + down, column + right): covered for down in range(span.rows) for right in range(span.columns)}
        return {**place, (i, column): cell}, judged

    def _column(self, layout: Layout, cells: Mapping[Place, Cell], column: int) -> Column:
        entry = layout.columns[column]
        own = [cell for (_, each), cell in cells.items() if each == column]
        texts = [cell.published_text for cell in own if cell.published_text]
        counts = Counter((cell.n, cell.n_seeds) for cell in own if cell.mean is not None)
        n, n_seeds = counts.most_common(1)[0][0] if counts else (None, None)
        metric = entry.metric.replace("{metric}", layout.metric(RowEntry(), column).rpartition("/")[2])
        own_unit = unit(metric, entry.task)
        shown = max((digits(own_unit, text) for text in texts), default=digits(own_unit))
        return Column(
            labels=entry.labels,
            metric=metric.rpartition("/")[2],
            direction=entry.direction or ("down" if own_unit.lower else "up"),
            digits=min(shown, digits(own_unit)) if texts and own_unit.symbol == "%" else shown,
            n=n,
            n_seeds=n_seeds,
        )

    def _judge(
        self, compared: Sequence[Place], cells: dict[Place, Cell], found: Mapping[Place, Found], shown: Column
    ) -> None:
        """Finds the best and the second of the cells that compare, and which cannot be told from the best."""
        means = {place: mean for place in compared if (mean := cells[place].mean) is not None}
        values = sorted(set(means.values()), reverse=shown.direction == "up")
        if len(values) < 2:
            return
        best = next(place for place, mean in means.items() if mean == values[0])
        for place, mean in means.items():
            rank = "best" if mean == values[0] else "second" if mean == values[1] else ""
            tied = rank != "best" and place in found and best in found and self.judge.tied(found[best], found[place])
            cells[place] = dataclasses.replace(cells[place], best=rank, tied=tied)


def _compared(controls: set[int], cells: dict[Place, Cell], clips: Mapping[Place, str], column: int) -> list[Place]:
    """Returns the cells of a column that compare: of the clips that most of them judge, and no controls.

    The others of other clips are marked; no mark, rank or test says anything of them beside the rest.
    """
    own = [place for place, cell in cells.items() if place[1] == column and cell.mean is not None]
    ranked = [place for place in own if place[0] not in controls]
    main = Counter(clips[place] for place in ranked or own).most_common(1)
    for place in own:
        if clips[place] != main[0][0]:
            cells[place] = dataclasses.replace(cells[place], marks=(*cells[place].marks, marks.OTHER_CLIPS))
    return [place for place in ranked if clips[place] == main[0][0]]


def ensemble_queries(layout: Layout, row: RowEntry, span: SpanEntry) -> list[tuple[Query, int]]:
    """Returns what the two models of an ensemble are, sound first, each with the column that has its settings.

    Args:
        layout: The table.
        row: A row of it.
        span: The cell that shows an ensemble.
    """
    own = layout.origin.index(span.column)
    metric = layout.metric(row, own).rpartition("/")[2]
    found = []
    for method, side in zip(span.ensemble, ("audio", "visual"), strict=True):
        key = f"{side}/{metric}"
        alone = dataclasses.replace(row, method=method, only=None, metrics={span.column: key})
        same = (c for c in range(len(layout.columns)) if layout.metric(alone, c) == key and _alike(layout, c, own))
        column = next(same, own)
        query = layout.query(alone, column)
        if query is None:
            return []
        found.append((dataclasses.replace(query, metric=key, recipe=""), column))
    return found


def _alike(layout: Layout, column: int, other: int) -> bool:
    one, two = layout.columns[column], layout.columns[other]
    return column != other and (one.data, one.task, one.subset) == (two.data, two.task, two.subset)


def measured(cell: Cell, values: Sequence[float]) -> Cell:
    """Returns a cell with the mean and spread of some values, and the difference to what was published."""
    mean = statistics.fmean(values)
    return dataclasses.replace(
        cell,
        mean=mean,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        n_seeds=len(values),
        difference=None if cell.published is None else mean - cell.published,
    )


def _places(layout: Layout, rows: Sequence[RowEntry]) -> list[Place]:
    return [(i, column) for i, row in enumerate(rows) if not row.group for column in range(len(layout.columns))]


def _caption(layout: Layout) -> str:
    entry = layout.entry
    if layout.data is None:
        return entry.caption
    text = entry.other_caption or entry.caption
    name = title(layout.data)
    return f"{text} On {name}{'' if name == layout.data else f' ({layout.data})'}, not on the paper's data."


def _notes(layout: Layout, cells: Mapping[Place, Cell], found: Mapping[Place, Found]) -> list[str]:
    own = [cell for cell in cells.values() if cell.mean is not None]
    notes = []
    if own:
        spread = any(cell.n_seeds > 1 for cell in own)
        notes.append(
            f"Measured here: {'mean ± standard deviation over seeds' if spread else 'one seed'}; best in bold, second"
            " underlined, of what was measured here."
        )
    if any(cell.published is not None for cell in cells.values()):
        notes.append(
            "In brackets: published"
            + (", and the difference to it." if any(c.difference is not None for c in own) else ".")
        )
    if any(cell.runnable and cell.mean is None for cell in cells.values()):
        notes.append(f"{marks.DASH} not measured here (avbench tables --missing).")
    used = {mark for cell in own for mark in (*cell.marks, *((marks.TIED,) if cell.tied else ()))}
    for mark in marks.MARKS:
        if mark in used:
            more = f": {_unlike(found)}" if mark == marks.OTHER_SETTINGS else ""
            notes.append(f"{marks.meaning(mark)}{more}.")
    notes += layout.entry.notes if layout.data is None else ()
    return notes


def _unlike(found: Mapping[Place, Found]) -> str:
    seen: dict[str, Any] = {}
    for each in found.values():
        for key, own, wanted in each.unlike:
            seen.setdefault(
                f"{key} {own} ({wanted:g})" if isinstance(wanted, float) else f"{key} {own} ({wanted})", None
            )
    return ", ".join(seen)

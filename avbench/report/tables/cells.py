"""From an entry and the records to a table: numbers, what is best, what cannot be told apart, what was published."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from avbench import registry
from avbench.metrics.units import unit
from avbench.report import ranking
from avbench.report.ranking import Family, Judge
from avbench.report.records import Records
from avbench.report.tables.ensemble import ensemble
from avbench.report.tables.entry import RowEntry, SpanEntry, TableEntry
from avbench.report.tables.layout import Layout, digits, lay_out, title
from avbench.report.tables.notes import notes_of
from avbench.report.tables.selection import Found, Query, find
from avbench.report.tables.table import Cell, Column, RowGroup, Table, TableRow
from avbench.running.given import WEIGHTS

Place = tuple[int, int]  # row among the layout's rows, column


class Builder:
    """Builds tables of one results folder."""

    def __init__(self, archive: Records, judge: Judge | None = None) -> None:
        self.archive = archive
        self.judge = judge or Judge(archive.results)

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
        compared = [
            (shown.direction == "up", _entries(_compared(controls, cells, clips, column), cells, found))
            for column, shown in enumerate(columns)
        ]
        family = ranking.judged(compared, self.judge)
        _mark(cells, family, [place for place, each in found.items() if self.judge.at_chance(each.measured)])
        body: list[RowGroup | TableRow] = [
            RowGroup(label=row.group)
            if row.group
            else TableRow(stub=row.stub, cells=tuple(cells[i, column] for column in range(len(columns))))
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
            notes=tuple(notes_of(layout, cells, found, family)),
        )

    def _given(self, layout: Layout) -> list[RowEntry]:
        """Returns rows of what was judged from files, below a heading, in tables that compare methods."""
        if len({row.method for row in layout.entry.rows if row.method}) < 2:
            return []
        names = sorted({r.method for r in self.archive.rows if r.weights == WEIGHTS})
        stub = len((layout.entry.other_stub or layout.entry.stub) if layout.data else layout.entry.stub)
        rows = [RowEntry(stub=(name, *[""] * (stub - 1)), method=name, where={"weights": WEIGHTS}) for name in names]
        kept = [row for row in rows if self._find(layout, [row])]
        return [RowEntry(group="Judged as given"), *kept] if kept else []

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
        query = layout.query(row, column)
        runs = query is not None and row.where.get("weights") != WEIGHTS
        runnable = runs and query is not None and not registry.of_records(registry.find("task", query.task))
        cell = Cell(runnable=runnable)
        if number is not None:
            cell = dataclasses.replace(cell, published=number.value, published_text=number.text)
        if found is None:
            return cell
        factor = unit(found.metric, layout.columns[column].task).factor
        cell = measured(cell, [value * factor for value in found.values])
        counts = {record.n for record in found.records}
        n = counts.pop() if len(counts) == 1 else None
        signs = [ranking.OTHER_N] if number is not None and layout.columns[column].n not in (None, n) else []
        signs += [ranking.OTHER_SETTINGS] if found.unlike else []
        signs += [ranking.OURS] if row.ours and layout.data is None else []
        ids = tuple(record.id for record in found.records)
        signs += [ranking.STALE] if self.archive.stale.intersection(ids) else []
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


def _entries(
    compared: Sequence[Place], cells: Mapping[Place, Cell], found: Mapping[Place, Found]
) -> list[ranking.Ranked[Place]]:
    means = {place: mean for place in compared if (mean := cells[place].mean) is not None}
    return [
        ranking.Ranked(place, mean, found[place].measured if place in found else None) for place, mean in means.items()
    ]


def _mark(cells: dict[Place, Cell], family: Family[Place], at_chance: Sequence[Place]) -> None:
    """Puts what was found into the cells; that none is tested is said below the table, and marks no cell."""
    for place in at_chance:
        cells[place] = dataclasses.replace(cells[place], marks=(*cells[place].marks, ranking.CHANCE))
    for place, verdict in family.verdicts.items():
        cell = cells[place]
        cells[place] = dataclasses.replace(
            cell,
            best=verdict.best,
            tied=verdict.tied,
            untested=verdict.untested,
            p=verdict.p,
            p_holm=verdict.p_holm,
            marks=(*cell.marks, ranking.UNTESTED) if verdict.untested and family.tests else cell.marks,
        )


def _compared(controls: set[int], cells: dict[Place, Cell], clips: Mapping[Place, str], column: int) -> list[Place]:
    """Returns the cells of a column that compare: of the clips that most of them judge, and no controls.

    The others of other clips are marked; no mark, rank or test says anything of them beside the rest.
    """
    own = [place for place, cell in cells.items() if place[1] == column and cell.mean is not None]
    ranked = [place for place in own if place[0] not in controls]
    main = Counter(clips[place] for place in ranked or own).most_common(1)
    for place in own:
        if clips[place] != main[0][0]:
            cells[place] = dataclasses.replace(cells[place], marks=(*cells[place].marks, ranking.OTHER_CLIPS))
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

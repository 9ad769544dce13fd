"""An entry as it is laid out for one set of data: on the paper's as it stands, on other data with fewer columns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from avbench import registry
from avbench.data import catalogue
from avbench.metrics.units import Unit
from avbench.recipes import presets, recipe
from avbench.report.tables import published
from avbench.report.tables.entry import ColumnEntry, RowEntry, TableEntry
from avbench.report.tables.selection import Query

UNITS = {"top1": "Acc", "mAP": "mAP"}
ANY = "*"  # a row of every method: the columns say which


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a table asks of the records.

    Attributes:
        entry: The entry.
        data: The data set of ``--data``; None: those of the paper.
        columns: Its columns for this data.
        origin: The index of each in the entry, by which rows name columns.
    """

    entry: TableEntry
    data: str | None
    columns: tuple[ColumnEntry, ...]
    origin: tuple[int, ...]

    @property
    def rows(self) -> list[RowEntry]:
        """The rows for this data; without headings over nothing."""
        kept: list[RowEntry] = []
        for row in map(self._row, self.entry.rows):
            if row.on != "any" and (row.on == "paper") != (self.data is None):
                continue
            if self.data is not None and not row.group and not row.method and not row.spans:
                continue  # nothing but published numbers of other data
            if row.group and kept and kept[-1].group:
                kept.pop()
            kept.append(row)
        return kept[:-1] if kept and kept[-1].group else kept

    def _row(self, row: RowEntry) -> RowEntry:
        """Returns a row with what it says of other data, where this is such."""
        if self.data is None or row.group:
            return row
        if self.entry.other_columns:  # whose numbers are not those that the row speaks of
            row = dataclasses.replace(row, only=None, spans=(), metrics={})
        return dataclasses.replace(row, **row.other)

    def has_cell(self, row: RowEntry, column: int) -> bool:
        """Tells whether a row has a cell in a column."""
        return row.only is None or self.origin[column] in row.only

    def recipe(self, row: RowEntry, method: str) -> recipe.Recipe | None:
        """Returns how a row's weights are obtained on the paper's data; None where nothing is said of it.

        Raises:
            InputError: The row names no recipe, or one of another method.
        """
        return recipe.find(row.recipe, method) if self.data is None and row.recipe else None

    def query(self, row: RowEntry, column: int) -> Query | None:
        """Returns what a cell asks for; None where no record can fill it."""
        chosen = self.columns[column]
        where = {**chosen.where, **row.where}
        method = row.method
        if method == ANY:
            method = where.get("method", "")
        if not method or not self.has_cell(row, column) or not chosen.task:
            return None
        where.pop("method", None)
        if not _can(method, chosen.task, self.metric(row, column)):
            return None
        if chosen.task == "classification":
            where = {"task.freeze": False, **where}  # a probe is no fine-tuning
        names: tuple[str, ...]
        trained = self.recipe(row, method)
        if self.data is None:
            where |= {**chosen.paper, **row.paper}
            if chosen.subset:
                where["subset"] = chosen.subset
            names = (*(trained.preset if trained is not None else ()), *chosen.presets)
        else:
            names = (self.data,) if self.data in presets.names() else ("starter",)
        return Query(
            method=method,
            task=chosen.task,
            data=chosen.data if self.data is None else (self.data,),
            metric=self.metric(row, column),
            where=where,
            presets=names,
            recipe=trained.name if trained is not None else "",
        )

    def metric(self, row: RowEntry, column: int) -> str:
        """Returns the key of the metric of a cell."""
        chosen = self.columns[column]
        key = row.metrics.get(self.origin[column], chosen.metric)
        return key.replace("{metric}", own_metric(chosen.data[0] if self.data is None and chosen.data else self.data))

    def number(self, row: RowEntry, column: int, **more: Any) -> published.Number | None:
        """Returns the published number of a cell; None on other data, and where there is none.

        Args:
            row: A row.
            column: Position of the column.
            **more: Further keys below the cell's.
        """
        if self.data is not None or row.published is None:
            return None
        wanted = {**self.columns[column].published, **row.published, **more}
        paper, table = wanted.pop("paper", self.entry.paper), wanted.pop("table", self.entry.table)
        return published.find(paper, table, **wanted)


def lay_out(entry: TableEntry, data: str | None) -> Layout:
    """Returns the layout of an entry; on other data, columns of several data sets become one."""
    if data is None:
        return Layout(entry=entry, data=None, columns=entry.columns, origin=tuple(range(len(entry.columns))))
    given = enumerate(entry.other_columns or entry.columns)
    columns: list[ColumnEntry] = []
    origin: list[int] = []
    seen: list[tuple[Any, ...]] = []
    for i, own in given:
        column = dataclasses.replace(own, **own.other)
        labels = tuple(
            _label(label, column, data) if level == column.data_level else label
            for level, label in enumerate(column.labels)
        )
        key = (labels, column.metric, column.task, column.where)
        if key not in seen:
            seen.append(key)
            columns.append(dataclasses.replace(column, labels=labels, n=None))
            origin.append(i)
    return Layout(entry=entry, data=data, columns=tuple(columns), origin=tuple(origin))


_ABOUT = {"audio": ("audio",), "visual": ("visual",), "a2a": ("audio",), "v2v": ("visual",)} | dict.fromkeys(
    ("joint", "a2v", "v2a"), ("audio", "visual")
)


def _can(method: str, task: str, metric: str) -> bool:
    """Tells whether a method can do a task, and takes what the metric is about."""
    known = registry.entries("method")
    if method not in known:
        return True
    entry, judged = known[method], registry.entries("task").get(task)
    needed = _ABOUT.get(metric.partition("/")[0], ())
    able = judged is not None and (registry.of_records(judged) or not registry.why_not(entry, judged))
    return able and set(needed) <= set(entry.card["modalities"])


def _label(label: str, column: ColumnEntry, data: str) -> str:
    name = title(data)
    return f"{name} ({UNITS.get(own_metric(data), own_metric(data))})" if "{metric}" in column.metric else name


def title(data: str) -> str:
    """Returns the name of a data set in prose."""
    return catalogue.entry(data).title if data in catalogue.names() else data


def own_metric(data: str | None) -> str:
    """Returns the metric by which classification on a data set is judged: mAP or top1."""
    known = data is not None and data in catalogue.names()
    return catalogue.entry(data).metric if known and catalogue.entry(data).metric in UNITS else "top1"


def digits(shown: Unit, text: str = "") -> int:
    """Returns the decimals shown: of percentages one, or as many as the published number has."""
    return max(shown.coarse, len(text.partition(".")[2])) if shown.symbol == "%" else shown.coarse

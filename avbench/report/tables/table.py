"""A table as plain data: what formats render, and what is kept as JSON beside the rendered files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

SCHEMA = 1  # of the JSON form


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of numbers.

    Attributes:
        labels: Header from top to bottom.
        metric: Last part of the metric's key, such as ``R@1``; "" of texts.
        direction: ``up`` where higher is better, ``down`` where lower is.
        digits: Decimals shown.
        n: Samples that most cells of the column are of; None where there are none.
        n_seeds: Seeds that most cells have.
    """

    labels: tuple[str, ...]
    metric: str = ""
    direction: str = "up"
    digits: int = 1
    n: int | None = None
    n_seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number with what stands beside it; numbers are in the unit shown (percent, mostly).

    Attributes:
        mean: Over seeds; None: nothing measured.
        sd: Standard deviation over seeds; None of one seed.
        n_seeds: Runs behind the mean.
        n: Samples (clips) it is of; None where none or where runs differ.
        run_ids: Ids of the records behind it.
        published: The published number; None: none.
        published_text: The same as printed there.
        difference: Mean less published.
        best: ``best`` or ``second`` of the measured cells of the column, or "".
        tied: It is not separated from the best.
        untested: Why it is not tested against the best; "": it is, or there is none.
        p: The p-value of its difference to the best; None: not tested.
        p_holm: The same, for all tests of the table together.
        marks: Keys of :data:`avbench.report.ranking.MARKS`, but for those two.
        text: What is shown instead of a number (settings).
        runnable: Whether a run could fill it; an empty cell that none can is left blank where nothing is published.
        rows: Rows that it spans.
        columns: Columns that it spans.
        covered: A spanning cell stands in its place.
    """

    mean: float | None = None
    sd: float | None = None
    n_seeds: int = 0
    n: int | None = None
    run_ids: tuple[str, ...] = ()
    published: float | None = None
    published_text: str = ""
    difference: float | None = None
    best: str = ""
    tied: bool = False
    untested: str = ""
    p: float | None = None
    p_holm: float | None = None
    marks: tuple[str, ...] = ()
    text: str = ""
    runnable: bool = True
    rows: int = 1
    columns: int = 1
    covered: bool = False


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """A heading over the rows that follow."""

    label: str


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line: what it is, and a cell a column."""

    stub: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        id: Such as ``table_02a``.
        title: Such as ``Table 2a``.
        caption: What it shows, and on which data where that is not the paper's.
        data: The data set of ``--data``; None: those of the paper.
        stub: Headers of the columns that name rows.
        columns: The columns of numbers.
        rows: Groups and rows.
        notes: Sentences below: what marks mean, where published numbers are from.
    """

    id: str
    title: str
    caption: str
    data: str | None
    stub: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[RowGroup | TableRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> list[list[tuple[str, int]]]:
        """Rows of the header over the columns of numbers: label and how many columns it spans."""
        depth = max((len(column.labels) for column in self.columns), default=0)
        padded = [(*column.labels, *[""] * (depth - len(column.labels))) for column in self.columns]
        lines: list[list[tuple[str, int]]] = []
        for level in range(depth):
            line: list[tuple[str, int]] = []
            for i, labels in enumerate(padded):
                same = i > 0 and labels[: level + 1] == padded[i - 1][: level + 1] and level < depth - 1
                if same and labels[level]:
                    line[-1] = (line[-1][0], line[-1][1] + 1)
                else:
                    line.append((labels[level], 1))
            lines.append(line)
        return lines

    @property
    def body(self) -> list[TableRow]:
        """The rows without the groups."""
        return [row for row in self.rows if isinstance(row, TableRow)]

    @property
    def measured(self) -> bool:
        """Whether any cell has a number of our own."""
        return any(cell.mean is not None for row in self.body for cell in row.cells)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values, without what has its default."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "title": self.title,
            "caption": self.caption,
            "data": self.data,
            "stub": list(self.stub),
            "columns": [_sparse(column) for column in self.columns],
            "rows": [
                {"group": row.label}
                if isinstance(row, RowGroup)
                else {"stub": list(row.stub), "cells": [_sparse(cell) for cell in row.cells]}
                for row in self.rows
            ],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Table:
        """Returns what :meth:`to_dict` gave."""
        rows: list[RowGroup | TableRow] = [
            RowGroup(label=row["group"])
            if "group" in row
            else TableRow(stub=tuple(row["stub"]), cells=tuple(Cell(**_tuples(cell)) for cell in row["cells"]))
            for row in values["rows"]
        ]
        return cls(
            id=values["id"],
            title=values["title"],
            caption=values["caption"],
            data=values["data"],
            stub=tuple(values["stub"]),
            columns=tuple(Column(**_tuples(column)) for column in values["columns"]),
            rows=tuple(rows),
            notes=tuple(values["notes"]),
        )


def _sparse(item: Column | Cell) -> dict[str, Any]:
    found = {}
    for each in fields(item):
        value = getattr(item, each.name)
        if value != each.default:
            found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}

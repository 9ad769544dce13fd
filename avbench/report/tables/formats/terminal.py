"""Text for a terminal, by tabulate."""

from __future__ import annotations

from avbench.report.tables.formats.parts import COUNTS, count_row, parts
from avbench.report.tables.table import Cell, Column, RowGroup, Table

SUFFIX = ".txt"


def render(table: Table) -> str:
    """Returns title, table and notes."""
    from tabulate import tabulate

    headers = [*table.stub, *("\n".join(label for label in column.labels if label) for column in table.columns)]
    body: list[list[str]] = []
    for row in table.rows:
        if isinstance(row, RowGroup):
            body.append([row.label, *[""] * (len(headers) - 1)])
        else:
            body.append([*row.stub, *(_cell(cell, c) for cell, c in zip(row.cells, table.columns, strict=True))])
    counts = count_row(table)
    if counts:
        body.append([COUNTS, *[""] * (len(table.stub) - 1), *counts])
    align = ["left"] * len(table.stub) + ["right"] * len(table.columns)
    text = tabulate(body, headers=headers, colalign=align, disable_numparse=True)
    notes = "".join(f"\n{note}" for note in table.notes)
    return f"{table.title}: {table.caption}\n\n{text}\n{notes}\n"


def _cell(cell: Cell, column: Column) -> str:
    if cell.covered:
        return "″"
    found = parts(cell, column)
    best = {"best": "*", "second": "_"}.get(found.best, "")
    words = [f"{best}{found.own}{best}" + (f" ± {found.sd}" if found.sd else "")]
    words[0] += "".join(sign for sign, _ in found.signs)
    words += [f"({found.counts})"] if found.counts else []
    words += [f"[{found.published}{', ' + found.difference if found.difference else ''}]"] if found.published else []
    return " ".join(word for word in words if word)

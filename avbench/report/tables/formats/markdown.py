"""Markdown: a pipe table with a header of one line."""

from __future__ import annotations

import re

from avbench.report.tables.formats.parts import COUNTS, count_row, heading, parts
from avbench.report.tables.table import Cell, Column, RowGroup, Table

SUFFIX = ".md"
_SPECIAL = re.compile(r"([\\`*_\[\]#])")


def escape(text: str) -> str:
    """Returns text that a cell of a Markdown table shows as it is."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain).replace("|", r"\|").replace("\n", " ")


def render(table: Table) -> str:
    """Returns title, table and notes."""
    headers = [*table.stub, *(heading(column) for column in table.columns)]
    lines = [headers, ["---"] * len(table.stub) + ["--:"] * len(table.columns)]
    body = [[escape(word) for word in lines[0]], lines[1]]
    for row in table.rows:
        if isinstance(row, RowGroup):
            body.append([f"*{escape(row.label)}*", *[""] * (len(headers) - 1)])
        else:
            cells = [_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
            body.append([*map(escape, row.stub), *cells])
    counts = count_row(table)
    if counts:
        body.append([escape(COUNTS), *[""] * (len(table.stub) - 1), *map(escape, counts)])
    text = "\n".join("| " + " | ".join(line) + " |" for line in body)
    notes = "".join(f"\n- {escape(note)}" for note in table.notes)
    return f"**{escape(table.title)}.** {escape(table.caption)}\n\n{text}\n" + (f"{notes}\n" if notes else "")


def _cell(cell: Cell, column: Column) -> str:
    if cell.covered:
        return "″"
    found = parts(cell, column)
    own = escape(found.own)
    if found.best:
        own = f"**{own}**" if found.best == "best" else f"<u>{own}</u>"
    words = [own + (f" ± {found.sd}" if found.sd else "") + "".join(escape(sign) for sign, _ in found.signs)]
    words += [f"({escape(found.counts)})"] if found.counts else []
    if found.published:
        words.append(rf"\[{escape(found.published)}{', ' + found.difference if found.difference else ''}\]")
    return " ".join(word for word in words if word)

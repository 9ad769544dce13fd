"""CSV: one line a cell with all that is known of it."""

from __future__ import annotations

import csv
import io

from avbench.report.tables.formats.parts import heading
from avbench.report.tables.table import RowGroup, Table

SUFFIX = ".csv"
COLUMNS = (
    "table",
    "data",
    "group",
    "row",
    "column",
    "metric",
    "direction",
    "mean",
    "sd",
    "n_seeds",
    "n",
    "best",
    "tied",
    "untested",
    "p",
    "p_holm",
    "marks",
    "published",
    "difference",
    "text",
    "run_ids",
)


def render(table: Table) -> str:
    """Returns the cells, numbers unrounded; a cell over several rows or columns once."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    group = ""
    for row in table.rows:
        if isinstance(row, RowGroup):
            group = row.label
            continue
        for cell, column in zip(row.cells, table.columns, strict=True):
            if cell.covered:
                continue
            values = (
                table.id,
                table.data or "",
                group,
                " | ".join(row.stub),
                heading(column),
                column.metric,
                column.direction,
                _number(cell.mean),
                _number(cell.sd),
                cell.n_seeds or "",
                "" if cell.n is None else cell.n,
                cell.best,
                "yes" if cell.tied else "",
                cell.untested,
                _number(cell.p),
                _number(cell.p_holm),
                " ".join(cell.marks),
                cell.published_text,
                _number(cell.difference),
                cell.text,
                " ".join(cell.run_ids),
            )
            writer.writerow([_safe(value) for value in values])
    return out.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _safe(value: object) -> object:
    """Keeps spreadsheets from taking a name for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "@", "\t") else value

"""HTML: an accessible table whose cells name the runs behind them."""

from __future__ import annotations

from html import escape

from avbench.report.tables.formats.parts import COUNTS, count_row, parts
from avbench.report.tables.table import Cell, Column, RowGroup, Table, TableRow

SUFFIX = ".html"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color-scheme: light dark; }
table { border-collapse: collapse; }
caption { text-align: left; margin-bottom: .5rem; }
th, td { padding: .2rem .6rem; text-align: center; white-space: nowrap; }
th[scope=row], th.stub, tr.group th { text-align: left; font-weight: normal; }
thead { border-top: 2px solid; border-bottom: 1px solid; }
tbody { border-bottom: 2px solid; }
tr.group th { font-style: italic; border-top: 1px solid; }
td.best .own { font-weight: bold; }
td.second .own { text-decoration: underline; }
.published, .sd, .counts { font-size: .8em; opacity: .8; }
"""


def fragment(table: Table) -> str:
    """Returns a ``<table>``: cells have ``data-runs`` (ids, blanks between), marks their meaning as title."""
    lines = [
        f'<table class="results" id="{escape(table.id)}" data-table="{escape(table.id)}">',
        f"<caption><b>{escape(table.title)}.</b> {escape(table.caption)}</caption>",
        "<thead>",
        *_header(table),
        "</thead>",
        "<tbody>",
    ]
    width = len(table.stub) + len(table.columns)
    for row in table.rows:
        if isinstance(row, RowGroup):
            lines.append(f'<tr class="group"><th colspan="{width}" scope="rowgroup">{escape(row.label)}</th></tr>')
        else:
            lines.append(_row(row, table))
    counts = count_row(table)
    if counts:
        names = f'<th scope="row" colspan="{len(table.stub)}">{COUNTS}</th>'
        cells = "".join(f"<td>{escape(text)}</td>" for text in counts)
        lines.append(f'<tr class="counts">{names}{cells}</tr>')
    lines += ["</tbody>", "</table>"]
    if table.notes:
        lines.append('<ul class="notes">' + "".join(f"<li>{escape(note)}</li>" for note in table.notes) + "</ul>")
    return "\n".join(lines) + "\n"


def render(table: Table) -> str:
    """Returns a page with the table alone."""
    title = escape(f"{table.title}: {table.caption}")
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n'
        f"<body>\n{fragment(table)}</body>\n</html>\n"
    )


def _header(table: Table) -> list[str]:
    lines = [line for line in table.header if any(label for label, _ in line)]
    found = []
    for level, line in enumerate(lines):
        cells = []
        if level == 0:
            cells = [f'<th class="stub" rowspan="{len(lines)}" scope="col">{escape(name)}</th>' for name in table.stub]
        scope = "col" if level == len(lines) - 1 else "colgroup"
        cells += [f'<th colspan="{span}" scope="{scope}">{escape(label)}</th>' for label, span in line]
        found.append(f"<tr>{''.join(cells)}</tr>")
    return found


def _row(row: TableRow, table: Table) -> str:
    first, *others = row.stub
    names = f'<th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(name)}</td>" for name in others)
    cells = [_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True) if not cell.covered]
    return f"<tr>{names}{''.join(cells)}</tr>"


def _cell(cell: Cell, column: Column) -> str:
    found = parts(cell, column)
    own = f'<span class="own">{escape(found.own)}</span>' if found.own else ""
    words = [own + (f'<span class="sd"> ± {escape(found.sd)}</span>' if found.sd else "")]
    words[0] += "".join(f'<abbr title="{escape(meaning)}">{escape(sign)}</abbr>' for sign, meaning in found.signs)
    words += [f'<span class="counts">({escape(found.counts)})</span>'] if found.counts else []
    if found.published:
        more = f", {found.difference}" if found.difference else ""
        words.append(f'<span class="published">[{escape(found.published + more)}]</span>')
    attributes = f' class="{found.best}"' if found.best else ""
    attributes += f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    attributes += f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    if cell.mean is not None:
        attributes += f' data-value="{cell.mean:.6g}"'
    return (
        f'<td data-runs="{escape(" ".join(cell.run_ids))}"{attributes}>{" ".join(word for word in words if word)}</td>'
    )

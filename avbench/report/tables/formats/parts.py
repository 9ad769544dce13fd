"""What is written in a cell, before a format says how."""

from __future__ import annotations

from dataclasses import dataclass

from avbench.report import ranking
from avbench.report.tables.table import Cell, Column, Table

MINUS = "−"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The texts of a cell; "" for what it has not.

    Attributes:
        own: The mean, a dash, or the text.
        sd: The standard deviation.
        best: ``best``, ``second`` or "".
        signs: The marks, each with its meaning.
        published: The published number.
        difference: The difference to it, with its sign.
        counts: Samples or seeds, where they are not those of the column.
    """

    own: str
    sd: str = ""
    best: str = ""
    signs: tuple[tuple[str, str], ...] = ()
    published: str = ""
    difference: str = ""
    counts: str = ""


def parts(cell: Cell, column: Column) -> Parts:
    """Returns what a cell says."""
    if cell.text:
        return Parts(own=cell.text, published=cell.published_text)
    if cell.mean is None:
        own = ranking.DASH if cell.runnable or not cell.published_text else ""
        return Parts(own=own, published=cell.published_text)
    names = [*cell.marks, *([ranking.TIED] if cell.tied else [])]
    return Parts(
        own=signed(cell.mean, column.digits),
        sd="" if cell.sd is None else f"{cell.sd:.{column.digits}f}",
        best=cell.best,
        signs=tuple(ranking.MARKS[name] for name in ranking.MARKS if name in names),
        published=cell.published_text,
        difference="" if cell.difference is None else signed(cell.difference, column.digits, plus=True),
        counts=_counts(cell, column),
    )


def signed(value: float, digits: int, *, plus: bool = False) -> str:
    """Returns a number with a minus sign of its own, and no negative zero.

    Args:
        value: The number.
        digits: After the point.
        plus: Whether a plus sign is written.
    """
    text = f"{abs(value):.{digits}f}"
    zero = not float(text)
    return f"{'' if zero or value > 0 else MINUS}{'+' if plus and (value > 0 or zero) else ''}{text}"


def count_row(table: Table) -> list[str]:
    """Returns samples and seeds of each column, such as ``1,000 (3)``; empty where nothing was measured."""
    if not table.measured:
        return []
    return [
        ranking.DASH if column.n_seeds is None else f"{'?' if column.n is None else f'{column.n:,}'} ({column.n_seeds})"
        for column in table.columns
    ]


COUNTS = "n (seeds)"


def _counts(cell: Cell, column: Column) -> str:
    found = []
    if cell.n != column.n:
        found.append("n differs" if cell.n is None else f"n={cell.n:,}")
    if cell.n_seeds != column.n_seeds:
        found.append(f"{cell.n_seeds} seed{'s' * (cell.n_seeds != 1)}")
    return ", ".join(found)


def heading(column: Column) -> str:
    """Returns the header of a column in one line."""
    return " / ".join(label for label in column.labels if label)

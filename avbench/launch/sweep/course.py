"""The course of a running trial: the rows of its metrics.csv."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path

from avbench.errors import RunError


class Course:
    """Reads new rows of a metrics.csv that another process appends to.

    Args:
        path: The file, which need not be there yet; with ``*`` in it, the first there is.
        column: The column to read.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path = path
        self.column = column
        self._size = 0

    def rows(self) -> list[tuple[int, float]]:
        """Returns step and value of every row, where the file has grown since the last call; else nothing.

        Rows without a value are left out, as is a last one that is still being written.

        Raises:
            RunError: The file has no such column.
        """
        path = next(iter(sorted(self.path.parent.parent.glob(f"{self.path.parent.name}/{self.path.name}"))), None)
        if path is None:
            return []
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # replaced at this moment
            return []
        whole = text[: text.rfind("\n") + 1]
        if len(whole) == self._size:
            return []
        self._size = len(whole)
        header, *rows = table(whole)
        if self.column not in header:
            raise RunError(
                f"pruner.column: found {self.column}, valid: {', '.join(header[1:])}, the columns of {path}."
            )
        at = header.index(self.column)
        found = []
        for row in rows:
            with contextlib.suppress(ValueError):  # a line that is not what was written
                found += [(int(row[0]), float(row[at]))] if len(row) == len(header) and row[at] else []
        return found


def table(text: str) -> list[list[str]]:
    """Returns the lines of a CSV, the header first; what is none has an empty header alone."""
    try:
        return list(csv.reader(io.StringIO(text))) or [[]]
    except csv.Error:
        return [[]]

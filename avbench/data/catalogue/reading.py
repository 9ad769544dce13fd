"""One official list while it is read, and a row of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from avbench.data.catalogue.entry import DataSet
from avbench.data.corpus.csv_file import read_cells
from avbench.errors import InputError

SPLITS = {"train": "train", "training": "train", "val": "tune", "valid": "tune", "validation": "tune", "test": "test"}


class AnnotationRow(NamedTuple):
    """One clip of an official list.

    Attributes:
        id: Its id.
        split: ``train``, ``tune``, ``test`` or "".
        labels: Class names, in the official spelling.
        video: What its file may be called without the start: the YouTube id, or the id.
        start: Second at which it begins in the video; NaN where the list does not say.
        picture: Stem of its picture file, where picture and sound are two files.
        sound: Stem of its sound file, likewise.
        folds: Its split in each published fold, where the set has some.
    """

    id: str
    split: str
    labels: tuple[str, ...]
    video: str
    start: float = math.nan
    picture: str = ""
    sound: str = ""
    folds: tuple[str, ...] = ()


class Reading(NamedTuple):
    """A list file, the set it is of, and the split and fold of its rows where the file says them."""

    path: Path
    entry: DataSet
    split: str
    fold: int = 0

    def bad(self, line: int, found: object, valid: str) -> InputError:
        """Returns the error of a line that is not as it should be.

        Args:
            line: Its number.
            found: What is there.
            valid: What may be there.
        """
        return InputError(
            f"{self.path}:{line}: found {found!r}, valid: {valid}; is this the list of {self.entry.title}?"
        )

    def number(self, line: int, text: str) -> float:
        """Returns the number that a cell holds."""
        try:
            return float(text)
        except ValueError:
            raise self.bad(line, text, "a number of seconds") from None

    def split_of(self, line: int, text: str) -> str:
        """Returns our name of a split; one that the list file states goes first."""
        found = self.split or SPLITS.get(text.strip().lower())
        if found is None:
            raise self.bad(line, text, "a split: " + ", ".join(sorted(SPLITS)))
        return found

    def table(self, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
        """Yields line number and cells of each line that is not empty or a comment."""
        valid = f"a list of {self.entry.title}"
        # AVE's fields are parted by & and never quoted.
        lines = read_cells(self.path, valid, delimiter=delimiter, quoted=delimiter == ",", spaced=True)
        for line, cells in lines:
            if not cells[0].startswith("#"):
                yield line, [cell.strip() for cell in cells]

    def named(self, *columns: str) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields line number and cells by column of a table with a header.

        Raises:
            InputError: A column is missing, in the header or in a line.
        """
        header: list[str] | None = None
        for line, cells in self.table():
            if header is None:
                header = [cell.lower() for cell in cells]
                missing = [column for column in columns if column not in header]
                if missing:
                    raise self.bad(line, ",".join(cells), f"a header with {','.join(columns)}")
                continue
            row = dict(zip(header, cells, strict=False))  # what no reader asks for may be left out at the end
            lacking = [column for column in columns if column not in row]
            if lacking:
                raise self.bad(line, ",".join(cells), f"a line with {','.join(lacking)}")
            yield line, row

    def json(self) -> Any:
        """Returns the file's content."""
        return json.loads(self.path.read_text(encoding="utf-8-sig"))

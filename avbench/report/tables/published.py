"""The published numbers: ``results/paper/*.csv`` of the repository, or of the installed package's data."""

from __future__ import annotations

import csv
import functools
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import InputError

SETTINGS = "cavmae_table_04"  # the file of Table 4, whose values are settings


@dataclass(frozen=True)
class Number:
    """One published number: a row of the csv, all values as text."""

    row: Mapping[str, str]

    @property
    def text(self) -> str:
        """The number as printed."""
        return self.row["value"]

    @property
    def value(self) -> float:
        """The number, mostly in percent."""
        return float(self.row["value"])

    def matches(self, wanted: Mapping[str, str | tuple[str, ...]]) -> bool:
        """Returns whether the row has all these values; of several any."""
        return all(
            self.row[key] in value if isinstance(value, tuple) else self.row[key] == value
            for key, value in wanted.items()
        )


def folder() -> Path:
    """Returns where the csv files are.

    Raises:
        InputError: Neither the repository nor the installation has them.
    """
    places = (
        Path(__file__).resolve().parents[3] / "results" / "paper",
        Path(sysconfig.get_path("data")) / "share" / "avbench" / "paper",
    )
    for place in places:
        if place.is_dir():
            return place
    raise InputError(
        f"published numbers: found neither {places[0]} nor {places[1]}, valid: one of them; install avbench again."
    )


@functools.cache
def read(name: str) -> tuple[Number, ...]:
    """Returns the rows of one file, such as ``cavmae``.

    Raises:
        InputError: There is no such file.
    """
    path = folder() / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return tuple(Number(row) for row in csv.DictReader(handle))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


def find(paper: str, table: str, **wanted: str | tuple[str, ...]) -> Number | None:
    """Returns the number of a paper's table that has these values.

    Args:
        paper: The file, such as ``cavmae``.
        table: The table there, such as ``2a``.
        **wanted: Column of the csv to value, or to several values.

    Raises:
        InputError: Several numbers fit: the entry that asks is ambiguous.
    """
    found = [number for number in _of_table(paper, table) if number.matches(wanted)]
    if len(found) > 1:
        raise InputError(f"{paper} table {table}: found {len(found)} numbers with {wanted}, valid: one.")
    return found[0] if found else None


@functools.cache
def _of_table(paper: str, table: str) -> tuple[Number, ...]:
    return tuple(number for number in read(paper) if number.row["table"] == table)

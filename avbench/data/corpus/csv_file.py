"""CSV files that users write, read strictly: what would be misread is refused with its line."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from avbench.errors import InputError

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32's marks begin or end with these


def read_cells(
    path: Path, valid: str, *, delimiter: str = ",", quoted: bool = True, spaced: bool = False, raw: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of each line that is not empty.

    Args:
        path: The file, UTF-8 with or without a byte order mark.
        valid: What it should be, for messages.
        delimiter: Between cells.
        quoted: Whether cells may be quoted.
        spaced: Whether spaces after a delimiter do not count.
        raw: Keep bytes that are not UTF-8 as lone surrogates, for names of files.

    Raises:
        InputError: It cannot be read, is not UTF-8, or holds a NUL, an unclosed quote, a cell of more than one line or
            one of more than 128 KiB.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        with path.open("rb") as mark:
            if mark.read(4).replace(b"\0\0", b"").startswith(_WIDE):
                raise InputError(f"{path}: found UTF-16 or UTF-32 text; save it as UTF-8; valid: {valid}.")
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as handle:
            reader = csv.reader(handle, delimiter=delimiter, skipinitialspace=spaced, quoting=quoting, strict=True)
            before = 0
            try:
                for cells in reader:
                    line, before = before + 1, reader.line_num
                    for cell in cells:
                        if not raw:
                            check_utf8(path, line, cell, valid)
                        if "\0" in cell or "\n" in cell or "\r" in cell:
                            found = "a NUL" if "\0" in cell else "a cell over several lines (an unclosed quote?)"
                            raise InputError(f"{path}:{line}: found {found}, valid: {valid}.")
                    if cells:
                        yield line, cells
            except csv.Error as error:
                raise InputError(
                    f"{path}:{before + 1}: cannot be read ({error}; an unclosed quote?), valid: {valid}."
                ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); valid: {valid}.") from None


def check_utf8(path: Path, line: int, cell: str, valid: str) -> None:
    """Refuses a cell that holds bytes that are not UTF-8.

    Args:
        path: The file.
        line: Line of the cell.
        cell: As read with ``surrogateescape``.
        valid: What the file should be.

    Raises:
        InputError: It does.
    """
    if not cell.isascii() and any("\ud800" <= letter <= "\udfff" for letter in cell):
        found = cell[:80].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise InputError(f"{path}:{line}: found '{found}', which is not UTF-8; save the file as UTF-8; valid: {valid}.")


def read_named(
    path: Path, valid: str, *, delimiter: str = ",", spaced: bool = False, raw: bool = False
) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Returns the header, and line number and cells by column of each row; a row that is too short has "" at its end.

    Args:
        path: As for :func:`read_cells`.
        valid: As for :func:`read_cells`.
        delimiter: As for :func:`read_cells`.
        spaced: As for :func:`read_cells`.
        raw: As for :func:`read_cells`.

    Raises:
        InputError: As for :func:`read_cells`; or a column occurs twice, or a row has more cells than the header.
    """
    lines = read_cells(path, valid, delimiter=delimiter, spaced=spaced, raw=raw)
    header = [name.strip() for name in next(lines, (0, []))[1]]
    twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
    if twice is not None:
        raise InputError(f"{path}: found the column '{twice}' twice, valid: {valid}.")

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for line, cells in lines:
            if any(cells[len(header) :]):
                raise InputError(
                    f"{path}:{line}: found {len(cells)} cells below {len(header)} columns; quote a cell that holds"
                    f" '{delimiter}'; valid: {valid}."
                )
            yield line, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))

    return header, rows()

"""The standard streams: whatever text comes from data is shown by them and does nothing.

A terminal obeys control characters: names of files, labels, ids and keys of checkpoints could clear it, or write what
looks like another line. They are written as escapes. Signs that an encoding lacks have readable stand-ins, and a stream
that is closed takes everything.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO, cast

_HANDLER = "avbench-readable"
# All but tab, the end of a line, and the return that begins a progress bar; also those that turn the direction of text.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|(?!\A)\r(?!\n)")
_LONGEST = 300  # characters of a word in an error
_SIGNS = {
    **dict.fromkeys("‐‑‒–—−─━", "-"),
    **dict.fromkeys("│┃┆", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰", "+"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’‚", "'"),
    **dict.fromkeys("█▉▊▋▌▍▎▏", "#"),
    "±": "+-",
    "×": "x",
    "·": "*",
    "•": "*",
    "…": "...",
    "§": "(s)",
    "†": "(+)",
    "‡": "(++)",
    "→": "->",
    "←": "<-",
    "↑": "(up)",
    "↓": "(down)",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "≠": "!=",
    "°": " deg",
    "µ": "u",
    "μ": "u",
    "λ": "lambda",
    "τ": "tau",
    "σ": "sigma",
    "∞": "inf",
    "✓": "yes",
    "✗": "no",
    "\u00a0": " ",
    "\u202f": " ",
}


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """Returns what stands for the signs that an encoding lacks, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    words = [_stand_in(sign, error.encoding) for sign in error.object[error.start : error.end]]
    return "".join(words), error.end


def _stand_in(sign: str, encoding: str) -> str:
    plain = _SIGNS.get(sign) or unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() or "?"
    try:
        plain.encode(encoding)
    except UnicodeError:
        return "?"
    return plain


def inert(text: str) -> str:
    """Returns text with control characters as escapes."""
    return _CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], text)


def one_line(text: str) -> str:
    """Returns the text of an error as one line, with words of any length, such as a path of kilobytes, cut."""
    words = " ".join(inert(text).splitlines()).split(" ")
    line = " ".join(w if len(w) <= _LONGEST else f"{w[: _LONGEST // 2]}...{w[-_LONGEST // 4 :]}" for w in words)
    return line if len(line) <= 7 * _LONGEST else f"{line[: 4 * _LONGEST]} ... {line[-2 * _LONGEST :]}"


class Inert:
    """A text stream that writes control characters as escapes.

    Attributes:
        plain: The stream itself, for what is to be obeyed.
    """

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain

    def write(self, text: str) -> int:
        """Writes a text."""
        self.plain.write(inert(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


def plain(stream: TextIO) -> TextIO:
    """Returns the stream that obeys control characters, for what the program itself writes."""
    return getattr(stream, "plain", stream)


@contextlib.contextmanager
def printable() -> Iterator[None]:
    """Makes standard output and standard error take any text inside the block, whatever it holds and they are."""
    codecs.register_error(_HANDLER, _replace)
    _open_missing()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)
    sys.stdout, sys.stderr = (cast(TextIO, Inert(plain(stream))) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_missing() -> None:
    """Opens standard streams that are closed, so that no file of ours gets their number, and takes what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115, PTH123

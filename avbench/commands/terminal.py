"""Text for terminals and logs that cannot show every sign: readable stand-ins, never a UnicodeEncodeError."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_HANDLER = "avbench-readable"
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


def make_printable() -> None:
    """Makes standard output and standard error take any text, whatever their encoding."""
    codecs.register_error(_HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)

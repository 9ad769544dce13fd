"""A command's options, from words to its frozen dataclass."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

from avbench.errors import InputError


def parse(command_class: type, program: str, arguments: Sequence[str], default: Any = None) -> Any:
    """Parses a command's options with tyro.

    Args:
        command_class: The command's frozen dataclass.
        program: What the user typed so far, such as ``avbench data make``.
        arguments: The rest.
        default: A command whose values stand where the arguments name none; None: the class's own.

    Raises:
        InputError: tyro refused the options; its answer is folded into one line.
    """
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                command_class,
                prog=program,
                args=list(arguments),
                default=default,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as leave:
        if leave.code in (0, None):
            raise
        raise InputError(_one_line(errors.getvalue(), program)) from None


def _one_line(box: str, program: str) -> str:
    """Folds tyro's framed, coloured answer into one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    # The frame is drawn with line characters, or with blanks and dashes where the terminal has none; its first line
    # is a title.
    lines = [line.strip("│╭╰╮╯─ ") for line in text.splitlines()[1:]]
    parts = [line for line in lines if line.strip("- ") and not line.startswith(("For full help", f"{program} --help"))]
    message = " ".join(" ".join(parts).split()) or "the options cannot be parsed"
    message = message.replace("Unrecognized options:", "unknown option").replace("Arguments similar to", "Similar to")
    return f"{message.rstrip('.')}. See: {program} --help"

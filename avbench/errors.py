"""The two ways a command can fail, the one in which it is stopped, and the wording they share.

Exit status 2 (:class:`InputError`) means nothing was started: the message names the file or key, what was
found, what is valid, and the fix. Exit status 1 (:class:`RunError`) means work began and could not finish.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

RAISED = (Exception, SystemExit)  # whatever somebody's code raises: where it would end the program, its run ends


class AvbenchError(Exception):
    """Base of every error that is reported as one line, without a traceback."""

    exit_status = 1


class InputError(AvbenchError):
    """The user's input cannot be used; nothing has been started or written."""

    exit_status = 2


class RunError(AvbenchError):
    """A run began and failed; what it finished before stays on disk."""

    exit_status = 1


class Stopped(KeyboardInterrupt):
    """A user, a scheduler or a terminal that closes asked for the end; the exit status says by which signal.

    It is a KeyboardInterrupt so that what handles failures of single runs does not continue with the next run.

    Args:
        message: What was kept, and how to resume; empty: the command line's own words.
        signal_number: The signal; None: it came by another way.
    """

    def __init__(self, message: str = "", signal_number: int | None = None) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the nearest candidate, or an empty string."""
    near = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def unknown(kind: str, word: str, candidates: Iterable[str]) -> InputError:
    """Builds the error for a name that is not one of a known set.

    Args:
        kind: What was to be named.
        word: What was found.
        candidates: What is valid.
    """
    names = sorted(candidates)
    return InputError(f"unknown {kind} '{word}'.{did_you_mean(word, names)} Valid: {', '.join(names) or '(none)'}.")

"""How far a long job is: a bar on a terminal, a line every 30 seconds in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

_EVERY_S = 30.0


class Progress:
    """Counts finished items on standard error.

    Args:
        what: What is being done, such as ``prepare``.
        total: How many items there are.
        done: How many were finished before.
        unit: What an item is called.
        enabled: False: say nothing.
    """

    def __init__(self, what: str, total: int, *, done: int = 0, unit: str = "file", enabled: bool = True) -> None:
        self._what, self._total, self._unit, self._enabled = what, total, unit, enabled
        self._done = self._first = done
        self._begin = self._said = time.monotonic()
        self._bar: Any = None
        if enabled and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc=what, unit=unit, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, note: str = "", *, count: int = 1) -> None:
        """Says that ``count`` more items are finished; ``note`` is shown beside them. 0: only the note is new."""
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        now = time.monotonic()
        if self._enabled and self._bar is None and now - self._said >= _EVERY_S:
            self._said = now
            rate = (self._done - self._first) / (now - self._begin)
            line = f"{self._what}: {self._done}/{self._total} {self._unit}s"
            if rate > 0:
                from tqdm import tqdm

                line += f", {rate:.2g}/s, {tqdm.format_interval((self._total - self._done) / rate)} left"
            sys.stderr.write(f"{line}, {note}\n" if note else f"{line}\n")
            sys.stderr.flush()

"""A share of the parts of a prepared folder, and the lock by which several processes write one folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import InputError
from avbench.processes import take

_LOCK = ".lock"
_WHOLE = 0  # a length of 0 is everything from the first byte on
_PLAN = 1 << 40  # a byte no part has
_INSTEAD = "give the command once, without --part, or another folder"


@dataclass(frozen=True)
class PartShare:
    """Every ``count``-th part from part ``index`` on.

    Attributes:
        index: From 1 to ``count``.
        count: Shares in all; together they have each part once.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> PartShare:
        """Reads ``I/N``, as ``--part`` takes it.

        Raises:
            InputError: It is something else.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"--part: found '{text}', valid: I/N with I from 1 to N, such as 3/8.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, part: int) -> bool:
        """Whether the part of this number, from 0, is in the share."""
        return part % self.count == self.index - 1


class FolderLock:
    """A lock on a whole folder, or on some of its parts; a context that ends with the process, however that ends.

    One byte of the folder's ``.lock`` stands for a part. These are record locks, which network file systems know too.
    On a file system without locks it warns and continues; processes with different shares of the same count are safe.

    Args:
        folder: An existing folder.
        parts: Numbers of the parts; None: the whole folder.
        made: Whether the folder was made just now, and goes where it is refused for want of locks.

    Raises:
        InputError: Another process has the folder, or one of the parts; or parts are asked for without locks.
    """

    def __init__(self, folder: Path, parts: Sequence[int] | None = None, *, made: bool = False) -> None:
        self._folder, self._parts, self._made = folder, parts, made
        self._several = "" if parts is None else _INSTEAD

    def __enter__(self) -> FolderLock:
        self._handle = (self._folder / _LOCK).open("a+b")
        try:
            for first, length in [(0, _WHOLE)] if self._parts is None else [(part, 1) for part in self._parts]:
                self._take(first, length)
        except InputError as error:
            self._handle.close()
            if self._made and isinstance(error.__cause__, OSError):  # no locks here, so nobody else holds it
                with contextlib.suppress(OSError):
                    self.remove()
                    self._folder.rmdir()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    @contextlib.contextmanager
    def plan(self) -> Iterator[None]:
        """Waits until no other process writes the folder's plan, and keeps others from it."""
        take(lambda: fcntl.lockf(self._handle, fcntl.LOCK_EX, 1, _PLAN), self._folder / _LOCK, self._several)
        try:
            yield
        finally:
            if self._parts is not None:  # else the byte stays with the folder
                take(lambda: fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, _PLAN), self._folder / _LOCK)

    def remove(self) -> None:
        """Deletes the lock's file. Only for a complete folder: another process may lock the file that is gone."""
        (self._folder / _LOCK).unlink(missing_ok=True)

    def _take(self, first: int, length: int) -> None:
        path = self._folder / _LOCK
        mode = fcntl.LOCK_EX | fcntl.LOCK_NB
        if not take(lambda: fcntl.lockf(self._handle, mode, length, first, os.SEEK_SET), path, self._several):
            what = "writing it" if self._parts is None else f"writing part {first} of it or all of it"
            raise InputError(f"{self._folder}: another 'avbench data prepare' is {what}; wait for it or stop it.")

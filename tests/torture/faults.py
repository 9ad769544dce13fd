"""Faults at every single operation on the disk: a command is killed there, or told that the disk is full or broken.

An audit hook sees each file that is opened for writing, each rename, removal and new folder, wherever in Python it is
asked for; fsync is put behind the same counter. Bytes that libraries in other languages write are not seen, but what
comes before and after them is. A hook cannot be removed, so each faulty command has a process of its own, started from
one that has imported torch already.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import multiprocessing
import os
import platform
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
_REMOVALS = ("os.remove", "os.rmdir")
_CHANGES = (*_REMOVALS, "os.rename", "os.mkdir", "os.symlink", "os.link", "os.truncate")
_LOCKS = ("fcntl.flock", "fcntl.lockf")
_NO_LOCK = ("ENOLCK", "ENOSYS", "EOPNOTSUPP")
_DONE = ("done.json", "record.json", "prepare.json")
_TORN = 37  # bytes of a write that still reach the disk


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        kind: ``kill``, ``stop`` (until somebody lets it continue), ``torn`` (killed in the middle of a write), or the
            name of an error such as ``ENOSPC``; nothing can be removed for EIO, but from a full disk. ``granted``:
            every lock is had at once, whoever else has it, as after a lease that ended too early. ``unseen``: what is
            done is not seen at first, as from another machine's cache of names.
        at: The operation, from 0; of ``unseen`` how often each name is not seen.
        lasting: All operations from there on fail, as on a full disk.
        host: The machine's name.
        clock_s: How many seconds its clock is fast.
    """

    kind: str
    at: int = 0
    lasting: bool = False
    host: str = ""
    clock_s: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (negative: a signal), what it wrote to its streams, what it did to the disk."""

    status: int
    text: str
    operations: tuple[str, ...]


class _Hook:
    """Counts operations below some folders, and lets one fail.

    Args:
        folders: The folders.
        fault: What goes wrong; None: nothing.
        log: Where each operation is noted.
    """

    def __init__(self, folders: list[str], fault: Fault | None, log: Callable[[str], None]) -> None:
        self.folders, self.fault, self.log = folders, fault, log
        self.count = -1
        self.busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.busy or not (event == "open" or event in _CHANGES or event in _LOCKS):
            return
        self.busy = True  # what the hook itself opens is none
        try:
            if event in _LOCKS:
                if self.fault is not None and self.fault.kind in _NO_LOCK:
                    raise _error(self.fault.kind, "lock")
            elif event != "open" or int(arguments[2] or 0) & _WRITING:
                self.operation(event, arguments[0])
        finally:
            self.busy = False

    def operation(self, what: str, place: object) -> None:
        """Takes one operation into account."""
        if not isinstance(place, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(place))  # noqa: PTH100  # a path that need not be there
        if not path.startswith(tuple(self.folders)):
            return
        self.count += 1
        self.log(f"{what} {path}")
        fault = self.fault
        if fault is None or self.count < fault.at or (self.count > fault.at and not fault.lasting):
            return
        if fault.kind in ("kill", "stop"):
            os.kill(os.getpid(), signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP)
        elif fault.kind == "torn":
            size = os.path.getsize(path) if os.path.isfile(path) else 0  # noqa: PTH113, PTH202
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + _TORN, resource.RLIM_INFINITY))
        elif (
            fault.kind.startswith("E")
            and fault.kind not in _NO_LOCK
            and not (fault.kind == "ENOSPC" and what in _REMOVALS)
        ):
            raise _error(fault.kind, path)


def _error(name: str, path: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), path)


def _elsewhere(fault: Fault) -> None:
    """Makes this process that of another machine, with its own name, clock, locks and view of the folder."""
    if fault.host:
        platform.node = lambda: fault.host
    if fault.clock_s:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + fault.clock_s
        time.time_ns = lambda: now_ns() + int(fault.clock_s * 1e9)
    if fault.kind == "granted":
        fcntl.flock = fcntl.lockf = lambda *_: None
    if fault.kind == "unseen":
        look, missed = os.stat, Counter()

        def stat(path: Any, **options: Any) -> os.stat_result:
            if not isinstance(path, int) and os.fsdecode(path).endswith(_DONE):
                missed[os.fsdecode(path)] += 1
                if missed[os.fsdecode(path)] <= fault.at:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return look(path, **options)

        os.stat = stat


def _serve(words: list[str], folders: list[str], fault: Fault | None, told: str) -> None:
    """Gives a command in this process, with a fault."""
    import torch

    torch.set_num_threads(1)
    descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    noted = os.open(f"{told}.operations", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    hook = _Hook(folders, fault, lambda text: os.write(noted, f"{text}\n".encode()) and None)
    sync = os.fsync

    def fsync(handle: Any) -> None:
        with contextlib.suppress(OSError):
            hook.operation("fsync", Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    os.fsync = fsync
    if fault is not None:
        _elsewhere(fault)
    sys.addaudithook(hook)
    from avbench.cli import main

    status = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@functools.cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["avbench.cli", "avbench.training.loop", "torch._dynamo", "pandas", "av"])
    return context


def start(words: list[str], folders: list[Path], told: Path, fault: Fault | None = None) -> Any:
    """Starts a command and returns its process."""
    process = _context().Process(target=_serve, args=(words, [f"{each}{os.sep}" for each in folders], fault, str(told)))
    process.start()
    return process


def give(words: list[str], folders: list[Path], told: Path, fault: Fault | None = None) -> Ended:
    """Gives a command in a process of its own and waits for its end.

    Args:
        words: The command.
        folders: Where operations count.
        told: A file for what it says.
        fault: What goes wrong; None: nothing.
    """
    process = start(words, folders, told, fault)
    process.join(300)
    assert process.exitcode is not None, "it hangs"
    operations = Path(f"{told}.operations")
    return Ended(
        process.exitcode,
        told.read_text(errors="replace") if told.exists() else "",
        tuple(operations.read_text().splitlines()) if operations.exists() else (),
    )

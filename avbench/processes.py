"""Other processes: starting interpreters that run the same code as this one, and keeping out of each other's way.

Children are not forked, so threads and open files here do not matter, and they work from notebooks and unguarded
scripts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

from avbench.errors import InputError
from avbench.files import sha256_file, sha256_text
from avbench.files.leftovers import is_left, remove
from avbench.files.unwritten import writing

log = logging.getLogger("avbench")
_PACKAGE = Path(__file__).resolve().parent
CODE = "AVBENCH_CODE"  # in the environment of a worker: the hash of the code of the process that started it
#: Of an interpreter that computes on one core: NumPy's linear algebra would otherwise reserve threads and memory.
ONE_CORE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def core_count() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_companions() -> bool:
    """Returns whether torchrun or a scheduler started this process beside others that share its work."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def own_cores() -> int:
    """Returns how many cores are this process's: of several on this machine that share a work, each has its part.

    Where Slurm gave each process cores of its own, those are the ones that it may use.
    """
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    by_slurm = "SLURM_CPUS_PER_TASK" in os.environ and os.environ.get("SLURM_NTASKS") == os.environ.get("WORLD_SIZE")
    if not has_companions() or not beside.isdecimal() or by_slurm:
        return core_count()
    return max(1, core_count() // max(1, int(beside)))


def free_port() -> int:
    """Returns a port of this machine that nobody listens at, for processes that are to meet."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def package_sha256(root: Path) -> str:
    """Returns the hash of a package's source files and their names."""
    files = sorted(root.rglob("*.py"))
    return sha256_text("\n".join(f"{path.relative_to(root).as_posix()} {sha256_file(path)}" for path in files))


@functools.cache
def code_sha256() -> str:
    """Returns the hash of the package's source: two records that differ in it came from different code.

    It is of the files as they were when it was first asked for, which whoever computes does before all else.
    """
    return package_sha256(_PACKAGE)


def words(*arguments: str) -> list[str]:
    """Returns the command line of ``avbench`` in an interpreter of its own; see :func:`environment`."""
    return [sys.executable, "-m", "avbench", *arguments]


def environment(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Returns the variables by which a worker finds the code of this process, and can tell whether it is the same.

    It does not look for modules in the working folder by itself, where a checkout with other code may lie.

    Args:
        paths: Where it looks for modules beside this package; None: where this process does, such as for plug-ins.
    """
    home = str(_PACKAGE.parent)
    own = [str(Path(path).absolute()) for path in sys.path if not _is_pythons(path)]
    found = [home, *filter(None, own if paths is None else paths)]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(found)), "PYTHONSAFEPATH": "1", CODE: code_sha256()}


def _is_pythons(path: str) -> bool:
    """Returns whether a path is of Python's own library, which each interpreter finds by itself."""
    library = sysconfig.get_path("stdlib")
    return path.endswith(".zip") or (path.startswith(library) and "site-packages" not in path)


def check_code() -> None:
    """Checks, in a process that another of this program started, that both have the same code.

    Raises:
        InputError: They have not.
    """
    wanted = os.environ.get(CODE)
    if wanted and wanted != code_sha256():
        raise InputError(
            f"{_PACKAGE}: found code {code_sha256()[:16]}, valid: {wanted[:16]}, that of what"
            " started this process; the code has changed since, or another is installed here: give the command again."
        )


def stops() -> list[signal.Signals]:
    """Returns the signals by which a user, a scheduler or a terminal that closes asks for an end.

    SIGHUP is not among them where it is ignored, as under ``nohup``.
    """
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


def leave_stops_to_parent() -> None:
    """Ignores Ctrl-C and the end of the terminal, which reach all of its processes: the one that drives decides."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class Child:
    """Another interpreter that serves one module of this package, and a pipe to it.

    Args:
        module: Its function ``serve(connection, *words)`` is called there.
        words: What it is told besides.
        paths: Where it looks for modules beside this package; None: where PYTHONPATH says.
        variables: Of its environment, over this process's own.

    Attributes:
        connection: This end of the pipe.
    """

    def __init__(
        self,
        module: str,
        *words: str,
        paths: Iterable[str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.connection, theirs = Pipe()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        others = [os.environ.get("PYTHONPATH", "")] if paths is None else paths
        # By name and not with -m, so that what travels over the pipe is of the same classes at both ends.
        command = f"from avbench.processes import serve; serve({module!r})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, str(theirs.fileno()), *words],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env={**os.environ, **environment(others), **(variables or {})},
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ending(self) -> str:
        """Waits for the end of the process and returns what ended it: a signal's name, or its exit status."""
        status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def last_words(self) -> str:
        """Returns the last line that the process wrote about itself; empty: none."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def terminate(self) -> None:
        """Asks the process to end."""
        self._process.terminate()

    def stop(self, patience_s: float = 0.0) -> None:
        """Ends the process.

        Args:
            patience_s: Seconds that it has to end by itself.
        """
        if patience_s:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._log.close()


def serve(module: str) -> None:
    """Calls what a :class:`Child` is to do, in its interpreter: the module's ``serve``."""
    import importlib

    importlib.import_module(module).serve(Connection(int(sys.argv[1])), *sys.argv[2:])


_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def take(lock: Callable[[], Any], path: Path, several: str = "") -> bool:
    """Takes a lock; on a file system without locks one writer continues after a warning, and several are refused.

    Args:
        lock: Calls ``fcntl.flock`` or ``fcntl.lockf``.
        path: What is locked, for the message.
        several: What to do instead, where other processes are meant to write beside this one; empty: they are not.

    Returns:
        False where another process holds it.

    Raises:
        InputError: Several processes are to write where there are no locks.
        OSError: The lock cannot be taken for another reason.
    """
    try:
        lock()
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        if several:
            raise InputError(
                f"{path.parent}: found a file system without locks, valid: one with locks, as several commands write"
                f" there; {several}."
            ) from error
        _warn_no_locks(str(path.parent))
    return True


@functools.cache
def _warn_no_locks(folder: str) -> None:
    log.warning("%s: this file system has no locks; let one command at a time write there", folder)


@contextlib.contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a folder's lock, so that two processes never do the same work; it ends with the process, however that ends.

    On a file system without locks it continues alone, after a warning: see :func:`take`.

    Args:
        folder: Created if it is not there.
        waiting: Called once, if another process holds the lock.
    """
    path = folder / ".lock"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        handle = path.open("wb")
    with handle:
        if not take(lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB), path):
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sweep(path: Path) -> None:
    """Removes what writers of this machine that are gone left of a path, or in a folder; the caller holds its lock."""
    for left in filter(is_left, [*path.parent.glob(f".{path.name}.*"), *path.glob(".*.tmp")]):
        remove(left)


def is_locked(path: Path) -> bool:
    """Returns whether a process holds the ``flock`` of a file."""
    try:
        with path.open("rb") as handle:
            return not take(lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB), path)
    except OSError:
        return False

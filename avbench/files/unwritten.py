"""A place that does not take what is written to it: one error with path, sizes and fix, whatever library met it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from avbench.errors import AvbenchError, RunError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EROFS, errno.EPERM)
_OF_WRITING = (*_FULL, errno.EFBIG, errno.EIO)  # no file that is read has these
_TEMPORARY = re.compile(r"^\.(.+)\.[^.]+\.\d+\.tmp$")  # what files are called until they are whole
_RUST = re.compile(r"\(os error (\d+)\)")  # how safetensors tells of the system's errors


class Unwritten(RunError, OSError):
    """Something could not be written; what was there before it is as it was."""

    @classmethod
    def of(cls, path: Path, error: OSError, needed: int = 0, written: int = 0) -> Unwritten:
        """Makes the error.

        Args:
            path: What was to be written.
            error: What the system said.
            needed: Bytes of it; 0: not known.
            written: Bytes of it that fitted.
        """
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            size = amount(needed) if needed else f"more than {amount(written)}"
            reason, fix = f"{reason}; needed: {size}, free: {_free(path)}", "Make room there or name another folder"
        elif error.errno in _CLOSED:
            fix = "Name a folder that may be written to"
        elif error.errno == errno.EFBIG:
            fix = "Allow larger files (ulimit -f)"
        else:
            fix = "Look at the disk and the limits of the system"
        place = Path(*(_TEMPORARY.sub(r"\1", part) for part in path.parts))
        return cls(
            f"{place}: cannot be written ({reason}); all that was finished before is kept. {fix}, and run the same"
            " command again."
        )

    def __str__(self) -> str:
        return str(self.args[0])


@contextlib.contextmanager
def writing(path: Path, needed: int = 0, temporary: Path | None = None) -> Iterator[None]:
    """Turns a failure of the system inside the block into one that names the path, with sizes where the disk is full.

    Args:
        path: What is written.
        needed: Bytes of it; 0: not known.
        temporary: Where they are until all are there.

    Raises:
        Unwritten: The block could not write.
    """
    try:
        yield
    except AvbenchError:
        raise
    except Exception as error:
        cause = _cause(error, path.parent)
        if cause is None:
            raise
        raise Unwritten.of(path, cause, needed, _size(temporary or path)) from error


def _cause(error: BaseException | None, folder: Path) -> OSError | None:
    """Returns what the system said of writing, which libraries wrap into errors of their own; None: nothing."""
    if isinstance(error, OSError) and error.filename is not None:
        place = Path(os.fsdecode(error.filename))
        return error if folder in place.parents or place == folder or place in folder.parents else None
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OF_WRITING:
            return error
        told = _RUST.search(str(error)) if type(error).__name__ == "SafetensorError" else None
        if told:
            return OSError(int(told[1]), os.strerror(int(told[1])))
        error = error.__cause__ or error.__context__
    return None


def amount(count: int) -> str:
    """Returns a number of bytes as people read it."""
    size, units = float(count), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 1000 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def free(path: Path) -> int:
    """Returns the bytes that are free where a path is, or will be."""
    return shutil.disk_usage(next(each for each in (path, *path.absolute().parents) if each.exists())).free


def _free(path: Path) -> str:
    try:
        return amount(free(path))
    except OSError:
        return "unknown"


def _size(path: Path) -> int:
    """Returns the bytes of a file, or of all files of a folder."""
    try:
        found = path.rglob("*") if path.is_dir() else [path]
        return sum(each.stat().st_size for each in found if each.is_file())
    except OSError:
        return 0

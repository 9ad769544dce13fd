"""What writers that were killed left: temporary files and folders of this machine whose process is gone."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import time
from pathlib import Path

_OLD = 3600.0  # seconds: so long nobody writes one file; in a container, processes of others cannot be seen


def is_left(path: Path) -> bool:
    """Returns whether a temporary path, ``.NAME.HOST.PROCESS.tmp`` or ``.job.PROCESS.tmp``, has no writer any more."""
    name, _, process = path.name.removesuffix(".old").removesuffix(".tmp").rpartition(".")
    own = name.endswith(f".{platform.node()}") or name == ".job"
    return own and process.isdecimal() and not _alive(int(process))


def remove(path: Path) -> None:
    """Removes a file or a folder, whoever else does so at the same time."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@functools.lru_cache(maxsize=4096)
def clear(folder: Path) -> None:
    """Removes what has no writer and has not changed for an hour, once in a process; nobody need hold a lock."""
    before = time.time() - _OLD
    for path in folder.glob(".*.tmp"):
        try:
            if is_left(path) and path.lstat().st_mtime < before:
                remove(path)
        except OSError:  # gone, or of somebody else: it does no harm
            continue


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True

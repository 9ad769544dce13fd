"""What a stage left is known by its hash: ``done.json`` lists its files, and they are compared when they are used.

Files of up to 256 MiB are hashed whenever a process first opens them. Larger ones are hashed where size or time of
change is not the one noted: whatever is written to them through the file system is noticed, and opening tens of
gigabytes of tokens costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avbench.files import Damaged, read_json, sha256_file

log = logging.getLogger("avbench")
DONE = "done.json"
FILES = "files"  # its key for what follows: name to bytes, mtime_ns and sha256
LARGE = 2**28  # bytes
WHOLE = ("key", "wall_s")  # what a run that reuses a stage needs
_KINDS: dict[str, type | tuple[type, ...]] = {"key": dict, "wall_s": (int, float), FILES: dict}
_PATTERNS = ("*.safetensors", "*.npy", "ids.json")
_compared: set[tuple[str, int, int, int]] = set()  # files that were found to be what was written, in this process


def seal(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size, time of change and hash of what a stage left in its folder, by name."""
    paths = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    return {path.name: {**_stamp(path), "sha256": sha256_file(path)} for path in paths}


def read_done(folder: Path, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns what a finished stage says of itself: its key, wall time, files and figures.

    Args:
        folder: The stage's folder.
        needs: Those that must be there, of :data:`_KINDS`.

    Raises:
        Damaged: It is not what a stage writes.
    """
    done: dict[str, Any] = read_json(folder / DONE)
    for name, kinds in _KINDS.items():
        if not isinstance(done[name], kinds) if name in done else name in needs:
            raise Damaged(f"{folder / DONE}: found no {name} as a stage writes it.", folder / DONE)
    return done


def damages(folder: Path, needs: tuple[str, ...] = ()) -> Iterator[Damaged]:
    """Yields what is wrong with a finished stage; the file is the error's ``path``."""
    try:
        files = read_done(folder, needs).get(FILES, {})
    except Damaged as error:
        yield error
        return
    for name, noted in files.items():
        path = folder / name
        try:
            _compare(path, noted)
        except Damaged as error:
            yield error


def check(folder: Path) -> None:
    """Checks what a finished stage left.

    Raises:
        Damaged: A file is not what was written.
    """
    for error in damages(folder):
        raise error


def check_weights(path: Path) -> None:
    """Checks weights that a user names, where they are what a stage left.

    Raises:
        Damaged: They are not what was written.
    """
    if not (path.parent / DONE).is_file():
        return
    try:
        files = read_done(path.parent).get(FILES, {})
    except Damaged as damage:
        log.warning("%s The weights next to it cannot be compared with it.", damage)
        return
    if path.name in files:
        _compare(path, files[path.name])


def _compare(path: Path, noted: Any) -> None:
    if not path.is_file():
        raise Damaged(f"{path}: no such file, though the stage is done.", path)
    stat, known = path.stat(), noted if isinstance(noted, dict) else {}
    mark = (str(path.absolute()), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if mark in _compared or (stat.st_size > LARGE and _stamp(path).items() <= known.items()):
        return
    if stat.st_size != known.get("bytes") or sha256_file(path) != known.get("sha256"):
        raise Damaged(f"{path}: is not what was written (its hash is another).", path)
    _compared.add(mark)


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}

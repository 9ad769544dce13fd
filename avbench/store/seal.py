"""What a stage left is known by its hash: ``done.json`` lists its files, and they are compared when they are used.

Files are hashed whenever a process first opens them, large ones block by block on several cores. Of an array of more
than a gigabyte that has its size and time of change, the first block, the last and some between are hashed: whatever
is written to it through the file system is noticed, and opening tens of gigabytes of tokens costs little.
``avbench verify`` hashes all of it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from avbench.files import Damaged, read_json, sha256_file
from avbench.processes import core_count

log = logging.getLogger("avbench")
DONE = "done.json"
FILES = "files"  # its key for what follows: name to bytes, mtime_ns and sha256, or the hashes of its blocks
BLOCK = 2**25  # bytes
LARGE = 2**30  # bytes of an array that are hashed when it is opened
WHOLE = ("key", "wall_s")  # what a run that reuses a stage needs
_KINDS: dict[str, type | tuple[type, ...]] = {"key": dict, "wall_s": (int, float), FILES: dict}
_PATTERNS = ("*.safetensors", "*.npy", "ids.json", "metrics.csv")
_SHOWN = ("metrics.csv",)  # what no number is made of: where it is damaged the stage is still done
_THREADS = 8
_READ = 2**20  # bytes at a time
_compared: set[tuple[str, int, int, int]] = set()  # files that were found to be what was written, in this process


def seal(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size, time of change and hash of what a stage left in its folder, by name."""
    paths = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    return {path.name: {**_stamp(path), **_hashed(path)} for path in paths}


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


def damages(folder: Path, needs: tuple[str, ...] = (), *, everything: bool = False) -> Iterator[Damaged]:
    """Yields what is wrong with a finished stage; the file is the error's ``path``.

    Args:
        folder: The stage's folder.
        needs: See :func:`read_done`.
        everything: Compare all of each file, and those that are only shown.
    """
    try:
        files = read_done(folder, needs).get(FILES, {})
    except Damaged as error:
        yield error
        return
    for name, noted in files.items():
        if everything or name not in _SHOWN:
            try:
                _compare(folder / name, noted, everything=everything)
            except Damaged as error:
                yield error


def check(folder: Path) -> None:
    """Checks what a finished stage left.

    Raises:
        Damaged: A file is not what was written.
    """
    for error in damages(folder):
        raise error


def check_file(path: Path) -> None:
    """Checks a file, such as weights that a user names, where it is what a stage left.

    Raises:
        Damaged: It is not what was written.
    """
    if not (path.parent / DONE).is_file():
        return
    try:
        files = read_done(path.parent).get(FILES, {})
    except Damaged as damage:
        log.warning("%s %s next to it cannot be compared with it.", damage, path.name)
        return
    if path.name in files:
        _compare(path, files[path.name])


def sha256(path: Path) -> str:
    """Returns the SHA-256 of weights that a user names: each file is hashed once in a process.

    Raises:
        Damaged: They are what a stage left, and not what was written.
    """
    stat = path.stat()
    return _sha256(path.absolute(), stat.st_ino, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, *_: int) -> str:
    done = path.with_name(DONE)
    noted: Any = None
    if done.is_file():
        with contextlib.suppress(Damaged):
            noted = read_done(path.parent).get(FILES, {}).get(path.name)
    if isinstance(noted, dict) and isinstance(noted.get("sha256"), str):
        _compare(path, noted)  # by blocks, on several cores
        return str(noted["sha256"])
    return sha256_file(path)


def _compare(path: Path, noted: Any, *, everything: bool = False) -> None:
    if not path.is_file():
        raise Damaged(f"{path}: no such file, though the stage is done.", path)
    stat, known = path.stat(), noted if isinstance(noted, dict) else {}
    mark = (str(path.absolute()), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if mark in _compared and not everything:
        return
    blocks = known.get("blocks")
    if isinstance(blocks, list):
        few = path.suffix == ".npy" and stat.st_size > LARGE and _stamp(path).items() <= known.items()
        chosen = range(len(blocks)) if everything or not few else _some(len(blocks))
        same = len(blocks) == -(-stat.st_size // BLOCK) and _blocks(path, chosen) == [blocks[i] for i in chosen]
    else:  # a small file, or one of a version that hashed large ones as a whole
        same = sha256_file(path) == known.get("sha256")
    if stat.st_size != known.get("bytes") or not same:
        raise Damaged(f"{path}: is not what was written (its hash is another).", path)
    _compared.add(mark)


def _hashed(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    blocks = {"blocks": _blocks(path, range(-(-size // BLOCK)))} if size > BLOCK else {}
    # Weights may be named by a user, whose runs' ids are of the whole file.
    whole = {"sha256": sha256_file(path)} if not blocks or path.suffix == ".safetensors" else {}
    return {**blocks, **whole}


def _some(count: int) -> list[int]:
    """Returns which of many blocks are compared: the first, with the array's header, the last, some between."""
    most = LARGE // BLOCK
    return sorted({0, count - 1, *range(0, count, max(1, -(-count // most)))})


def _blocks(path: Path, chosen: Iterable[int]) -> list[str]:
    """Returns the SHA-256 of some blocks of a file; hashing leaves Python's lock, so threads are as many cores."""
    with ThreadPoolExecutor(min(_THREADS, core_count())) as threads:
        return list(threads.map(lambda number: _block(path, number), chosen))


def _block(path: Path, number: int) -> str:
    digest, buffer, left = hashlib.sha256(), memoryview(bytearray(_READ)), BLOCK
    with path.open("rb", buffering=0) as handle:
        handle.seek(number * BLOCK)
        while left and (count := handle.readinto(buffer[:left])):
            digest.update(buffer[:count])
            left -= count
    return digest.hexdigest()


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}

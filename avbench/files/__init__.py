"""Writing files so that a crash leaves either the old file or the new one, and hashing what was written."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avbench.errors import InputError
from avbench.files import leftovers
from avbench.files.unwritten import writing

_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h
_HERE = -100  # AT_FDCWD of fcntl.h
SEAL = "seal"  # the key of an object's own hash, which comes first in the file
_OPENED = "{\n"  # how an object's text begins
_SEALED = f'{_OPENED}  "{SEAL}": "'
_DIGITS = 64  # of SHA-256
DAMAGED = ".damaged"  # what is set aside ends in this, or in .damaged-2 and so on

log = logging.getLogger("avbench")


class Damaged(InputError):
    """A file of ours is not what was written: missing, empty, cut off, or changed.

    Args:
        message: What is wrong; it names the file.
        path: The file.
    """

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    # Machine and process keep two writers of one path apart; the leading dot hides it from globs.
    return path.parent / f".{path.name}.{platform.node()}.{os.getpid()}.tmp"


@contextlib.contextmanager
def atomic_path(path: Path, needed: int = 0) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; syncs and renames it when the block ends without an error.

    Args:
        path: What is to be written.
        needed: Its bytes, for the error of a full disk; 0: not known.

    Raises:
        Unwritten: The file system did not take it.
    """
    temporary = _temporary(path)
    try:
        with writing(path, needed, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            leftovers.clear(path.parent)
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; syncs its files and renames it when the block succeeds.

    An existing ``path`` is replaced: whoever reads it finds the old one or the new one, and never none.

    Raises:
        Unwritten: The file system did not take it.
    """
    temporary = _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with writing(path, temporary=temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            leftovers.clear(path.parent)
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb+") as handle:
                        os.fsync(handle.fileno())
            _put(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


def _put(temporary: Path, path: Path) -> None:
    """Renames a folder to ``path``; what was there takes its place."""
    while True:
        if path.exists() and _exchange(temporary, path):
            return
        try:  # a file system that cannot exchange two names: the old one aside, and at once the new one
            old = temporary.with_suffix(".old")
            with contextlib.suppress(FileNotFoundError):
                path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old, ignore_errors=True)
            return
        except OSError as error:  # another writer was faster: its folder is the old one now
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def link(path: Path, target: Path) -> None:
    """Makes ``path`` a symbolic link to ``target``, which need not be there yet; replaces what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` atomically, in UTF-8."""
    data = text.encode()
    with atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal values give equal text, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically."""
    write_text(path, _text(value))


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Writes an object as :func:`write_json` does, with its own hash in front, which :func:`read_json` compares."""
    write_text(path, sealed_text(value))


def sealed_text(value: dict[str, Any]) -> str:
    """Returns what :func:`write_sealed` writes."""
    text = _text(value)
    return f'{_SEALED}{sha256_text(text)}",\n{text.removeprefix(_OPENED)}'


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _unsealed(text: bytes, value: dict[str, Any]) -> bool:
    """Takes an object's seal away; False where it is another's. An object that was only laid out anew is whole."""
    seal, rest = value.pop(SEAL, None), text[len(_SEALED) + _DIGITS + 3 :]
    if seal is None or hashlib.sha256(_OPENED.encode() + rest).hexdigest() == seal:
        return True
    return bool(sha256_text(_text(value)) == seal)


def is_sealed(path: Path) -> bool:
    """Returns whether a file of ours that can be read holds its own hash; older versions wrote none."""
    with path.open("rb") as handle:
        return f'"{SEAL}":'.encode() in handle.read(len(_SEALED))


def read_json(path: Path, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """Returns the values of a JSON file that this program wrote; the one reader of such files.

    Args:
        path: The file.
        kind: What it holds: an object, or a list.

    Raises:
        Damaged: It is missing, empty, cut off, nested too deep, holds NaN, is of another kind, or was changed.
        InputError: It is there and may not be read.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"{path}: no such file.", path) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    return parse_json(text, path, kind)


def parse_json(text: bytes, path: Path | str, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """Returns the values of what was read from a JSON file, as :func:`read_json` does.

    Args:
        text: What was read.
        path: Where from, named in errors.
        kind: Of what it must be.
    """
    wanted = "an object" if kind is dict else "a list"
    if not text.strip():
        reason = "found an empty file"
    else:
        try:
            value = _JSON.decode(text.decode())
            if not isinstance(value, kind):
                reason = f"found JSON of type {type(value).__name__}"
            elif not isinstance(value, dict) or _unsealed(text, value):
                return value
            else:
                raise Damaged(f"{path}: is not what was written (its hash is another).", Path(path))
        except RecursionError:
            reason = "found JSON nested too deep to be read"
        except ValueError as error:  # UnicodeDecodeError and JSONDecodeError among them
            reason = f"cannot be read as JSON ({' '.join(str(error).split())})"
    raise Damaged(f"{path}: {reason}, valid: {wanted}.", Path(path))


def _no_number(text: str) -> Any:
    raise ValueError(f"found {text}, which is no JSON")


_JSON = json.JSONDecoder(parse_constant=_no_number)  # made once: thousands of records are read


def set_aside(damage: Damaged) -> None:
    """Renames a damaged file, so that it is neither used nor lost, and says so."""
    path, number = damage.path, 2
    aside = path.with_name(path.name + DAMAGED)
    while aside.exists():
        aside = path.with_name(f"{path.name}{DAMAGED}-{number}")
        number += 1
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        log.warning("%s Set aside as %s, to be computed again.", damage, aside.name)
        return
    log.warning("%s To be computed again.", damage)


def sha256_text(text: str) -> str:
    """Returns the SHA-256 of ``text`` in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

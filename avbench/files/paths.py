"""Paths and names that users give, checked before anything is begun."""

from __future__ import annotations

import os
from pathlib import Path

from avbench.errors import InputError

_NAME_BYTES = 200  # of a folder's name: file systems take 255, and temporary names beside it are longer
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes; what file systems and their calls take


def check_folder_name(option: str, name: str) -> None:
    """Refuses what is no plain name of a folder.

    Args:
        option: What errors call it, such as ``--name``.
        name: The name.

    Raises:
        InputError: It is empty, leads elsewhere, is hidden, or too long.
    """
    bad = not name or name.startswith(".") or any(sign in "/\\" or not sign.isprintable() for sign in name)
    if bad or len(os.fsencode(name)) > _NAME_BYTES:
        raise InputError(
            f"{option}: found '{name[:60]}', valid: the plain name of a folder, without '/' and a dot in front, at most"
            f" {_NAME_BYTES} bytes."
        )


def check_path(option: str, path: Path) -> None:
    """Refuses what cannot be a path, whatever is there.

    Args:
        option: What errors call it, such as ``--features``.
        path: The path.

    Raises:
        InputError: It holds a NUL, or is too long.
    """
    if "\0" in str(path):
        raise InputError(f"{option}: found a name with a NUL, valid: a path.")
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _LONGEST_NAME or len(os.fsencode(path)) >= _LONGEST_PATH:
        raise InputError(
            f"{option} {str(path)[:40]}...: found a path of {len(str(path))} characters, with a name of {longest},"
            f" valid: at most {_LONGEST_PATH - 1}, and {_LONGEST_NAME} a name."
        )


def check_is_file(path: Path, option: str = "", valid: str = "a file") -> None:
    """Refuses a file that is not there, or is a folder.

    Args:
        path: The file.
        option: What names it, such as ``--checkpoint``; none: the path alone.
        valid: What would be right.

    Raises:
        InputError: There is no such file.
    """
    if not path.is_file():
        found = "found a folder" if path.is_dir() else "no such file"
        raise InputError(f"{option} {path}: {found}; valid: {valid}.".lstrip())


def home() -> Path:
    """Returns the user's home folder; where the system knows none, the root, as a login does."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def expanded(path: str | Path) -> Path:
    """Returns a path with the home folder for ``~``; that of a user who is not known stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path's own fails where there is no such user


def check_folder(option: str, folder: Path, *, writes: bool = True) -> None:
    """Refuses a path where no folder is and none can be made; makes none.

    Args:
        option: What errors call it, such as ``--results``.
        folder: The path.
        writes: Whether something will be written there for certain.

    Raises:
        InputError: A part of it is a file or too long, or may not be written to.
    """
    fix = "valid: a folder, or a path where one can be made"
    if "\0" in str(folder):
        raise InputError(f"{option}: found a name with a NUL, {fix}.")
    try:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if there == folder or folder.absolute() == there:
            if not folder.is_dir():
                raise InputError(f"{option} {folder}: found a file, {fix}.")
            return
        if not there.is_dir():
            raise InputError(f"{option} {folder}: found a file at {there}, {fix}.")
        rest = folder.absolute().relative_to(there)
        longest = max(rest.parts, key=lambda part: len(os.fsencode(part)))
        if len(os.fsencode(longest)) > os.pathconf(there, "PC_NAME_MAX"):
            raise InputError(f"{option}: found a name of {len(longest)} characters, valid: at most 255.")
        if writes and not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"{option} {folder}: {there} may not be written to, {fix}.")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{option} {str(folder)[:60]}: cannot be used ({reason}), {fix}.") from None

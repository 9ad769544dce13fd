"""The one reader of .npz files that others made: vectors, heat maps and masks. Nothing in them is executed."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.files import parse_json

NAMED = 3  # ids named in an error


def check_unique(ids: Sequence[str]) -> None:
    """Refuses ids of which one is there twice.

    Raises:
        InputError: One is.
    """
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    twice = [each for each in ids if each in seen or seen.add(each)]  # type: ignore[func-returns-value]
    more = ", ..." if len(twice) > NAMED else ""
    raise InputError(f"id: found {len(twice)} ids a second time ({', '.join(twice[:NAMED])}{more}), valid: each once.")


class NotNpz(InputError):
    """A file that is no .npz, or an array in it that cannot be read."""


class Npz:
    """An open .npz file, read an array at a time.

    Args:
        path: The file.
        needs: Names of arrays that must be there.
        valid: What the file should be, for messages.

    Attributes:
        names: Of its arrays.

    Raises:
        InputError: It is missing, no .npz, or lacks an array.
    """

    def __init__(self, path: Path, needs: Iterable[str], valid: str) -> None:
        self._path, self._valid = path, valid
        if not path.is_file():
            found = "found a folder" if path.is_dir() else "no such file"
            raise InputError(f"{path}: {found}; valid: {valid}.")
        if not zipfile.is_zipfile(path):  # else NumPy takes any bytes for pickled objects
            raise NotNpz(f"{path}: cannot be read as .npz; valid: {valid}.")
        try:
            self._arrays: Mapping[str, Any] = np.load(path, allow_pickle=False)
        except Exception as error:  # of a malformed archive, whatever zipfile and NumPy make of it
            raise self._bad(error) from None
        self.names = list(self._arrays)
        missing = [name for name in needs if name not in self.names]
        if missing:
            found = ", ".join(self.names) or "no arrays"
            raise InputError(f"{path}: found {found}, missing {', '.join(missing)}; valid: {valid}.")

    def read(self, name: str) -> npt.NDArray[Any]:
        """Returns an array.

        Raises:
            NotNpz: It is damaged, encrypted, holds Python objects, is no array, or larger than memory.
        """
        try:
            array = self._arrays[name]
        except Exception as error:  # zlib.error, TokenError, MemoryError and whatever else a crafted header brings
            raise self._bad(error, name) from None
        if not isinstance(array, np.ndarray):
            raise NotNpz(f"{self._path}: {name}: found no array, valid: {self._valid}.")
        return array

    def text(self, name: str = "id", what: str = "clips") -> list[str]:
        """Returns an array of text as a list.

        Args:
            name: Of the array: (n,) text, or whole numbers that stand for it.
            what: What it has one of each, for the error.

        Raises:
            InputError: It is something else, or no Unicode text.
        """
        array = self.read(name)
        if array.ndim != 1 or array.dtype.kind not in "USiu" or len(array) == 0:
            found = f"found shape {array.shape} of type {array.dtype}"
            raise InputError(f"{self._path}: {name}: {found}, valid: ({what},) text.")
        try:
            text = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)
            found_text: list[str] = text.tolist()
            "".join(found_text).encode()
        except (UnicodeError, SystemError) as error:  # the latter of letters beyond Unicode
            raise InputError(f"{self._path}: {name}: found what is no text ({error}), valid: Unicode text.") from None
        return found_text

    def config(self) -> dict[str, Any]:
        """Returns what the file says of itself, or nothing where another program put something else there."""
        array = self.read("config") if "config" in self.names else None
        if array is None or array.ndim != 0 or array.dtype.kind != "U":
            return {}
        try:
            config: dict[str, Any] = parse_json(str(array).encode(), "config")
            json.dumps(config, ensure_ascii=False).encode()  # escaped halves of signs cannot be written again
        except (InputError, UnicodeEncodeError):
            return {}
        return config

    def close(self) -> None:
        """Closes the file."""
        self._arrays.close()  # type: ignore[attr-defined]  # an NpzFile, which is a mapping besides

    def _bad(self, error: Exception, name: str = "") -> NotNpz:
        where = f"{name}: " if name else ""
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        if isinstance(error, MemoryError):
            reason = "more than there is memory for"
        hint = ""
        if "pickle" in reason:
            reason, hint = "Python objects", " Text must be stored as text: np.array(ids, dtype=str)."
        return NotNpz(f"{self._path}: {where}cannot be read ({reason}); valid: {self._valid}.{hint}")


@contextlib.contextmanager
def opened(path: Path, valid: str, needs: Iterable[str] = ()) -> Iterator[Npz]:
    """Opens a file, as :class:`Npz` does; what is found wrong with its arrays inside the block is told with its path.

    Args:
        path: The file.
        valid: What it should be, for messages.
        needs: Names of arrays that must be there.

    Raises:
        InputError: It cannot be used.
    """
    arrays = Npz(path, needs, valid)
    try:
        yield arrays
    except InputError as error:
        raise (error if str(error).startswith(str(path)) else InputError(f"{path}: {error}")) from None
    finally:
        arrays.close()

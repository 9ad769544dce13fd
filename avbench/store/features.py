"""The features file: one .npz of embeddings, ours or anyone's, that retrieval evaluates.

- ``id``: (n,) text, in the manifest's order
- ``audio``: (n, F, d) float32, or (n, d) for one frame a clip
- ``visual``: (n, F, d) likewise
- ``config``: JSON text, what made them (optional)
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.files import atomic_path, parse_json

ARRAYS = ("id", "audio", "visual")
NAMED = 3  # ids named in an error


@dataclass(frozen=True)
class Features:
    """Embeddings of paired clips: row i of ``audio`` and ``visual`` belongs to ``ids[i]``.

    Two axes, (n, d), are taken as one frame a clip; other kinds of numbers become float32. ``scores``, where there are
    any, are the similarities of sounds (rows) and pictures by which an encoder compares in place of the cosine.

    Raises:
        InputError: Shapes, lengths or ids that cannot be used; values are checked where they are compared.
    """

    ids: list[str]
    audio: npt.NDArray[np.float32]  # (n, F, d)
    visual: npt.NDArray[np.float32]  # (n, F, d)
    config: dict[str, Any] = field(default_factory=dict)
    scores: npt.NDArray[np.float32] | None = None  # (n, n)

    def __post_init__(self) -> None:
        """Checks the arrays and gives them their three axes."""
        for name in ("audio", "visual"):
            object.__setattr__(self, name, with_frames(name, getattr(self, name)))
        n = len(self.ids)
        if not n == len(self.audio) == len(self.visual):
            raise InputError(
                f"found {n} ids, {len(self.audio)} audio and {len(self.visual)} visual rows, valid: as many of each."
            )
        if self.audio.shape[2] != self.visual.shape[2] and self.scores is None:
            raise InputError(
                f"found widths {self.audio.shape[2]} (audio) and {self.visual.shape[2]} (visual), valid: the same."
            )
        check_distinct(self.ids)


def check_distinct(ids: Sequence[str]) -> None:
    """Refuses ids that occur twice.

    Raises:
        InputError: Some do.
    """
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        more = ", ..." if len(twice) > NAMED else ""
        raise InputError(
            f"id: found {len(twice)} ids a second time ({', '.join(twice[:NAMED])}{more}), valid: each clip once."
        )


def with_frames(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns features as (n, F, d) float32, from (n, F, d) or (n, d).

    Raises:
        InputError: No numbers, or another shape.
    """
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: found values of type {array.dtype}, valid: numbers, best float32.")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{name}: found shape {array.shape}, valid: (clips, frames, width) or (clips, width).")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such later
        return (array if array.ndim == 3 else array[:, None]).astype(np.float32, copy=False)


def write_features(path: Path, features: Features, config: Mapping[str, Any] | None = None) -> None:
    """Writes a features file, atomically.

    Args:
        path: The .npz to write.
        features: What to write, in the order it has.
        config: What made them, JSON values; None: what the features carry.
    """
    text = json.dumps(dict(features.config if config is None else config), sort_keys=True, ensure_ascii=False)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            allow_pickle=False,
            id=np.array(features.ids, dtype=np.str_),
            audio=features.audio,
            visual=features.visual,
            config=np.array(text),
        )


def read_features(path: Path) -> Features:
    """Reads a features file.

    Raises:
        InputError: It is missing, no .npz, lacks an array, or holds arrays that do not fit each other.
    """
    with opened(path, ", ".join(ARRAYS)) as arrays:
        missing = [name for name in ARRAYS if name not in arrays.files]
        if missing:
            raise InputError(
                f"{path}: found {', '.join(arrays.files) or 'no arrays'}, missing {', '.join(missing)};"
                f" valid: an .npz with {', '.join(ARRAYS)}."
            )
        return Features(read_ids(arrays), arrays["audio"], arrays["visual"], read_config(arrays))


@contextlib.contextmanager
def opened(path: Path, valid: str) -> Iterator[np.lib.npyio.NpzFile]:
    """Opens an .npz of somebody's; what is wrong with it or its arrays is told with its path.

    Args:
        path: The file.
        valid: The arrays that it should have, for messages.

    Raises:
        InputError: It is missing, no .npz, or what is read of it cannot be used.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; valid: an .npz with {valid} (see: avbench features).")
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: found a single array, valid: an .npz with {valid}.")
        with loaded as arrays:
            yield arrays
    except InputError as error:
        raise (error if str(error).startswith(str(path)) else InputError(f"{path}: {error}")) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        hint = " Text must be stored as text: np.array(ids, dtype=str)." if "Object arrays" in reason else ""
        raise InputError(f"{path}: cannot be read as .npz ({reason}).{hint}") from None


def read_ids(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """Returns the clips' ids.

    Raises:
        InputError: They are no list of text.
    """
    return texts(arrays["id"], "id", "clips")


def texts(array: npt.NDArray[Any], name: str, what: str) -> list[str]:
    """Returns an array of text as a list.

    Args:
        array: (n,) text, or whole numbers that stand for it.
        name: What it is called, for the error.
        what: What it has one of each.

    Raises:
        InputError: It is something else.
    """
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise InputError(f"{name}: found shape {array.shape} of type {array.dtype}, valid: ({what},) text.")
    text = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)
    found: list[str] = text.tolist()
    return found


def read_config(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Returns the stored config, or nothing where there is none or another program put something else there."""
    array = arrays.get("config")
    if array is None or array.ndim != 0 or array.dtype.kind != "U":
        return {}
    try:
        config: dict[str, Any] = parse_json(str(array).encode(), "config")
        json.dumps(config, ensure_ascii=False).encode()  # escaped halves of signs cannot be written again
    except (InputError, UnicodeEncodeError):
        return {}
    return config

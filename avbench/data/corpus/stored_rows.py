"""Spectrograms that were computed once, beside the clips of a prepared folder, where they are read instead of computed.

An item of prepared data is then read 3.7 times as fast, a clip of 16 frames 1.27 times (benchmarks/README.md), for
524 kB more a clip. They belong to the settings of the spectrogram and to the content of the folder: others go unread.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.config import InputConfig
from avbench.data.corpus.frames import FramedClips
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.corpus.shards import ShardReader
from avbench.errors import InputError, RunError
from avbench.files import canonical_json, read_json, sha256_text

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips

FOLDER = "spectrograms"  # of the prepared folder
_SCHEMA = 1  # raised by whoever changes what the filter bank computes
_DECIDING = ("sample_rate", "n_mels", "frame_length_ms", "frame_shift_ms", "target_length")

log = logging.getLogger("avbench")


def described(root: Path, config: InputConfig) -> dict[str, Any]:
    """Returns what stored spectrograms belong to: the settings that decide them, and the content of the folder."""
    settings = {name: getattr(config, name) for name in _DECIDING}
    return {"schema": _SCHEMA, "settings": settings, "content": read_json(root / "prepare.json").get("sha256")}


def name_of(config: InputConfig) -> str:
    """Returns what the files for some settings are called, without their endings."""
    return sha256_text(canonical_json([_SCHEMA, *(getattr(config, name) for name in _DECIDING)]))[:16]


class StoredRows:
    """Log-mel rows of the clips of a prepared folder, neither padded nor normalised.

    ``NAME.npy`` holds float32 (n, target_length, n_mels), zeros behind a clip's rows; ``NAME.clips.npy`` uint32 (n, 2),
    the number of rows and their CRC-32; ``NAME.json``, written last, what they belong to.

    Args:
        root: The prepared folder.
        config: The settings of the spectrogram.

    Raises:
        InputError: They cannot be read.
    """

    def __init__(self, root: Path, config: InputConfig) -> None:
        self._name = name_of(config)
        self._n_mels, self._stride = config.n_mels, config.target_length * config.n_mels * 4
        path = root / FOLDER / f"{self._name}.npy"
        try:
            self._clips = np.load(path.with_suffix(".clips.npy"))
            size = path.stat().st_size
        except (EOFError, OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be read ({error}); 'avbench data spectrograms {root}' makes it again."
            ) from None
        self._reader = ShardReader(root / FOLDER)
        self._begin = size - len(self._clips) * self._stride  # behind NumPy's header

    def damage(self, row: int, clip: str) -> str | None:
        """Returns what is wrong with the rows of a clip; None: nothing. Arguments as of :meth:`read`."""
        try:
            self.read(row, clip)
        except RunError as error:
            return str(error)
        return None

    def read(self, row: int, clip: str) -> NDArray[np.float32]:
        """Returns the rows of the clip at a row of the manifest, (rows, n_mels).

        Args:
            row: Which clip.
            clip: Its id, for errors.

        Raises:
            RunError: They are not what was written.
        """
        count, checksum = self._clips[row].tolist()
        file = f"{self._name}.npy"
        data = self._reader.read(file, self._begin + row * self._stride, count * self._n_mels * 4)
        if zlib.crc32(data) != checksum:
            where = self._reader.folder
            raise RunError(
                f"clip '{clip}': its spectrogram in {where / file} is not what was written; delete {where}, or"
                f" 'avbench data spectrograms {where.parent}' makes it again."
            )
        return np.frombuffer(bytearray(data), np.float32).reshape(count, self._n_mels)


def damaged_rows(root: Path, ids: Sequence[str]) -> Iterator[str]:
    """Yields a line for each stored spectrogram that is not what was written, or for files that cannot be read.

    Args:
        root: The prepared folder.
        ids: Of its clips, in the manifest's order.
    """
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            belongs = read_json(path)
            stored = StoredRows(root, InputConfig(**belongs["settings"]))
            if belongs["content"] == read_json(root / "prepare.json").get("sha256"):
                yield from filter(None, map(stored.damage, range(len(ids)), ids))
        except (InputError, KeyError, TypeError) as error:
            yield f"{FOLDER}/{path.name}: {str(error).splitlines()[0]}"


def find_rows(clips: Clips, config: InputConfig) -> tuple[StoredRows, PreparedClips] | None:
    """Returns the stored spectrograms of some clips, and the clips as they are stored; None where there are none.

    Clips whose sound is changed as it is read have none.
    """
    while type(clips) is FramedClips:
        clips = clips.stored
    if type(clips) is not PreparedClips:
        return None
    path = clips.root / FOLDER / f"{name_of(config)}.json"
    if not path.is_file():
        return None
    if read_json(path) != described(clips.root, config):
        log.warning("%s: of other clips, not used; 'avbench data spectrograms %s' makes it again", path, clips.root)
        return None
    return StoredRows(clips.root, config), clips

"""Shards: plain tar files with random access, written once and read by (shard, offset, size).

Members are named ``KEY.EXTENSION`` and all members of a key are adjacent, so WebDataset reads them too. A key holds
no dot and no slash (WebDataset splits a name at its first dot); such characters of a clip's id are percent-encoded.
Everything variable in a tar header (times, owners) is fixed: equal clips give equal files.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import BinaryIO

from avbench.errors import RunError

_BLOCK = tarfile.BLOCKSIZE
_ENCODED = {".": "%2E", "/": "%2F", "%": "%25", "\\": "%5C", "\0": "%00"}


def member_key(clip_id: str) -> str:
    """Returns the tar key of a clip: its id with dots, slashes, backslashes and ``%`` percent-encoded."""
    return "".join(_ENCODED.get(letter, letter) for letter in clip_id)


class ShardWriter:
    """Writes the members of one tar to an open binary file and says where each one's data begins."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._position = 0

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        """Appends one member.

        Args:
            name: Its name in the tar, such as ``KEY.wav``.
            data: Its content.

        Returns:
            The offset of the content from the start of the shard, and its size, both in bytes.
        """
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        offset = self._position + len(header)
        padding = -len(data) % _BLOCK
        self._handle.write(header)
        self._handle.write(data)
        self._handle.write(bytes(padding))
        self._position = offset + len(data) + padding
        return offset, len(data)

    def close(self) -> None:
        """Writes the end of the archive (two empty blocks); the file itself stays the caller's."""
        self._handle.write(bytes(2 * _BLOCK))


class ShardReader:
    """Reads members of the shards below one folder; each shard is opened once, on first use.

    Reading is by ``os.pread``, which has no position, so threads may share a reader. A reader that is pickled or
    lives on in a forked process opens its shards again or shares the descriptors safely.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptors: dict[str, int] = {}

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Returns ``size`` bytes of ``shard`` (a path below the folder) from ``offset``.

        Args:
            shard: Path below the folder.
            offset: First byte.
            size: Bytes.

        Raises:
            RunError: The shard is missing or too short.
        """
        try:
            descriptor = self._descriptors.get(shard)
            if descriptor is None:
                descriptor = os.open(self.folder / shard, os.O_RDONLY | os.O_CLOEXEC)
                # Two threads may both open it; one descriptor wins and the other is closed.
                if self._descriptors.setdefault(shard, descriptor) != descriptor:
                    os.close(descriptor)
                    descriptor = self._descriptors[shard]
            data = os.pread(descriptor, size, offset)
        except OSError as error:
            raise RunError(f"{self.folder / shard}: {error.strerror or error}; run 'avbench data verify'.") from None
        if len(data) != size:
            raise RunError(
                f"{self.folder / shard}: found {len(data)} of {size} bytes at {offset}; the shard is damaged, "
                "delete the folder and prepare it again."
            )
        return data

    def close(self) -> None:
        """Closes all shards; a later read opens them again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.folder = state["folder"]
        self._descriptors = {}

    def __del__(self) -> None:
        self.close()


def read_member(folder: Path, shard: str, offset: int, size: int) -> bytes:
    """Returns one member's bytes without keeping the shard open; see :class:`ShardReader`.

    Args:
        folder: Of the prepared data.
        shard: Path below it.
        offset: First byte.
        size: Bytes.

    Raises:
        RunError: The shard is missing or too short.
    """
    reader = ShardReader(folder)
    try:
        return reader.read(shard, offset, size)
    finally:
        reader.close()

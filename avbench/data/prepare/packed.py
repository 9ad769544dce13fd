"""Media files that stand in others: where their bytes are, and how they become files for the time they are decoded.

They are written under names of ours in a temporary folder, so no name in an archive decides where anything goes.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.data.media.join import PICTURES, has_sound, join
from avbench.data.media.verdict import Rejected

_CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class PackedSpan:
    """Bytes of a file, as they stand."""

    file: str
    offset: int
    size: int

    def write(self, out: Path) -> None:
        """Copies them to a file.

        Raises:
            Rejected: They are not all there.
        """
        with Path(self.file).open("rb") as source, out.open("wb") as target:
            source.seek(self.offset)
            left = self.size
            while left and (found := source.read(min(left, _CHUNK))):
                target.write(found)
                left -= len(found)
        if left:
            raise Rejected("cut off", f"{self.size - left} of {self.size} bytes")


@dataclass(frozen=True)
class PackedCell:
    """Bytes in a row of a Parquet file, which are to be decompressed."""

    file: str
    group: int
    row: int  # within the group
    column: str

    def write(self, out: Path) -> None:
        """Writes them to a file.

        Raises:
            Rejected: They cannot be read.
        """
        value = _column(self.file, self.group, self.column)[self.row].as_py()
        data, named = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if data is None:
            raise Rejected("file not found", str(named or ""))
        out.write_bytes(data)


@functools.lru_cache(maxsize=2)  # of the video and of the sound; the rows of a group come one after the other
def _column(file: str, group: int, column: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            return table.read_row_group(group, columns=[column]).column(column)
    except (pa.ArrowException, OSError) as error:
        raise Rejected("cannot be read", str(error).splitlines()[0][:200]) from None


Bytes = PackedSpan | PackedCell | str  # a path is that of a file that another names


@dataclass(frozen=True)
class Packed:
    """A clip within a file, or why there is none.

    Attributes:
        pictures: A video, or a picture.
        suffix: The ending of its name, such as ``.mp4``.
        sound: A sound beside it, which counts where the video has none; None: there is no such.
        sound_suffix: The ending of its name.
        refusal: What is wrong with it, told in place of a clip.
    """

    pictures: Bytes | None = None
    suffix: str = ""
    sound: Bytes | None = None
    sound_suffix: str = ""
    refusal: str = ""

    @property
    def size(self) -> int:
        """Bytes, as far as known without reading them."""
        return sum(part.size for part in (self.pictures, self.sound) if isinstance(part, PackedSpan))


@contextlib.contextmanager
def on_disk(medium: str | Packed, max_pixels: int) -> Iterator[str]:
    """Gives the path of a media file that can be decoded.

    Args:
        medium: The file, or where it is in another.
        max_pixels: Largest picture.

    Raises:
        Rejected: There is none.
    """
    if isinstance(medium, str):
        yield medium
        return
    if medium.refusal or medium.pictures is None:
        raise Rejected(*medium.refusal.split(": ", 1))
    with tempfile.TemporaryDirectory(prefix="avbench-") as made:
        folder = Path(made)
        pictures = _placed(medium.pictures, folder / f"pictures{medium.suffix}")
        if medium.sound is not None and (medium.suffix in PICTURES or not has_sound(pictures, max_pixels)):
            sound = _placed(medium.sound, folder / f"sound{medium.sound_suffix}")
            join(pictures, sound, folder / "both.mkv", max_pixels)
            pictures = folder / "both.mkv"
        yield str(pictures)


def _placed(part: Bytes, out: Path) -> Path:
    if isinstance(part, str):
        return Path(part)
    try:
        part.write(out)
    except OSError as error:
        raise Rejected("cannot be read", (error.strerror or type(error).__name__).lower()) from None
    return out

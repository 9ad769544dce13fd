"""What shards and tables of clips have in common: how a sample becomes an entry of the listing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from avbench.data.corpus.split_names import SPLITS
from avbench.data.media.join import PICTURES
from avbench.data.prepare.packed import Packed

VIDEOS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".flv", ".f4v", ".ts", ".m2ts"),
        *(".mts", ".mpg", ".mpeg", ".vob", ".ogv", ".ogg", ".wmv", ".asf", ".mxf", ".rm", ".rmvb", ".dv", ".divx"),
    )
)
SOUNDS = frozenset((".mp3", ".wav", ".flac", ".m4a", ".aac", ".opus", ".oga", ".wma", ".aiff", ".amr", ".ac3"))
#: Files that hold clips: WebDataset shards, and tables as ``datasets`` writes them.
SHARDS, TABLES = (".tar", ".tar.gz", ".tgz"), (".parquet", ".arrow")
LABELS = ("label", "labels", "class", "classes", "category", "cls")  # names of what says what a clip shows
_LEFT = ("cache-", "dataset_info")  # what ``datasets`` keeps beside its tables


@dataclass
class Member:
    """A clip of a source before its id is known; see :class:`~avbench.data.prepare.source.SourceFile`."""

    path: str
    labels: list[str]
    split: str
    id: str = ""
    packed: Packed | None = None


def containers(source: Path, exclude: Path | None = None) -> list[Path]:
    """Returns the shards or tables of a folder that has no media files, or the one that is named, sorted.

    Args:
        source: A folder or file.
        exclude: A folder to leave out, such as the output.
    """
    if not source.is_dir():
        return [source] if source.is_file() and source.name.lower().endswith((*SHARDS, *TABLES)) else []
    found = []
    without = exclude.resolve() if exclude else None
    for folder, folders, files in os.walk(source):
        here = Path(folder)
        if "prepare.json" in files or (without is not None and here.resolve() == without):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.startswith(".") or name.startswith(_LEFT):
                continue
            if Path(name).suffix.lower() in VIDEOS | SOUNDS:
                return []
            if name.lower().endswith((*SHARDS, *TABLES)):
                found.append(here / name)
    return sorted(found)


def relative(path: Path, source: Path) -> str:
    """Returns the name of a shard or table below the source, valid Unicode."""
    return printable(path.name if path == source else path.relative_to(source).as_posix())


def printable(name: str) -> str:
    """Returns a name without the lone surrogates of bytes that are no UTF-8, which no table or JSON can hold."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def split_of(name: str) -> str:
    """Returns the split that the name of a shard or table tells, such as ``data/train-00000-of-00010.parquet``."""
    words = re.split(r"[^a-z]+", str(PurePosixPath(name).with_suffix("")).lower())
    found = {SPLITS[word] for word in words if word and word in SPLITS}
    return found.pop() if len(found) == 1 else ""


def labels_of(value: Any) -> list[str]:
    """Returns a label, or several, as text: those of a list, or separated by ``;``."""
    values = value if isinstance(value, list) else str(value).split(";") if isinstance(value, str) else [value]
    texts = [str(each).strip() for each in values if each is not None]
    return list(dict.fromkeys(text for text in texts if text))


def label_in(row: Mapping[str, Any]) -> Any:
    """Returns what a sample's row says it shows; None where it says nothing."""
    return next((row[name] for name in LABELS if row.get(name) is not None), None)


@dataclass
class TarSample:
    """The parts of one sample, by the endings of their names."""

    parts: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> Packed:
        """Returns the clip: its video or else its picture, and its sound, or the one of them; or why there is none."""
        suffixes = list(self.parts)
        pictures = next((s for kind in (VIDEOS, PICTURES) for s in suffixes if s in kind), "")
        sound = next((s for s in suffixes if s in SOUNDS), "")
        if sound and not pictures:
            return Packed(self.parts[sound], sound)
        if not pictures:
            held = ", ".join(sorted(s.removeprefix(".") for s in suffixes)) or "nothing"
            return Packed(refusal=f"no video track: found {held}")
        return Packed(self.parts[pictures], pictures, self.parts.get(sound), sound)

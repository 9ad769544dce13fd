"""Tables of clips as ``datasets`` writes them, Parquet or Arrow, read as a source without that package.

The kinds of the columns (Video, Audio, ClassLabel) are those that the tables' own metadata state; without it, columns
are known by their names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avbench.data.corpus.split_names import SPLITS
from avbench.data.media.join import PICTURES
from avbench.data.prepare.packed import Bytes, Packed, PackedCell, PackedSpan
from avbench.data.prepare.samples import (
    LABELS,
    SOUNDS,
    VIDEOS,
    Member,
    TarSample,
    labels_of,
    printable,
    relative,
    split_of,
)
from avbench.errors import InputError

log = logging.getLogger("avbench")
_IDS = ("id", "video_id", "clip_id", "youtube_id")
_NAMES = {  # of the columns that hold media -> kind in the metadata, and the ending of what has no name
    "video": ("Video", ".mp4", ("video", "mp4", "clip")),
    "audio": ("Audio", ".wav", ("audio", "wav", "sound", "flac", "mp3")),
    "image": ("Image", ".jpg", ("image", "jpg", "jpeg", "frame")),
}


@dataclass(frozen=True)
class _Columns:
    media: dict[str, str]  # video, audio, image -> column
    label: str
    classes: tuple[str, ...]  # by number, where the label is one
    split: str
    id: str

    @property
    def texts(self) -> list[str]:
        """The columns that are read whole."""
        return [name for name in (self.label, self.split, self.id) if name]


def read_table(path: Path, source: Path) -> dict[str, Member]:
    """Returns the clips of a table by name, and what is wrong with it under its own.

    Args:
        path: The table.
        source: The folder that names begin in, or the table.

    Raises:
        InputError: It has no column of videos, sounds or pictures.
    """
    name = relative(path, source)
    try:
        schema, rows = _open(path)
        columns = _columns(schema, path)
        return dict(_entry(row, name, path, columns) for row in rows(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = f"damaged table: {(str(error).splitlines() or [type(error).__name__])[0][:200]}"
        log.warning("%s: %s", path, reason)
        return {name: Member(str(path.absolute()), [], "", packed=Packed(refusal=reason))}


@dataclass(frozen=True)
class _Row:
    number: int
    texts: Mapping[str, Any]
    media: Mapping[str, tuple[Bytes | None, str]]  # video, audio, image -> where it is, and the name it had


def _columns(schema: Any, path: Path) -> _Columns:
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    lower = {name.lower(): name for name in reversed(schema.names)}
    kinds = {name: str(feature.get("_type", "")) for name, feature in features.items() if isinstance(feature, dict)}
    media = {}
    for kind, (stated, _, names) in _NAMES.items():
        found = [name for name in schema.names if kinds.get(name) == stated]
        found += [lower[name] for name in names if name in lower]
        found = [name for name in found if _holds_media(schema.field(name).type)]
        if found:
            media[kind] = found[0]
    if not media:
        raise InputError(
            f"{path}: found the columns {', '.join(schema.names)[:200]}, valid: one of videos (type Video, or named"
            f" {', '.join(_NAMES['video'][2])}: bytes, or paths), sounds or pictures."
        )
    classed = [name for name in schema.names if _classes(features.get(name))]
    label = next(iter([*(lower[name] for name in LABELS if name in lower), *classed]), "")
    ids = next((lower[name] for name in _IDS if name in lower), "")
    return _Columns(media, label, tuple(_classes(features.get(label))), lower.get("split", ""), ids)


def _classes(feature: Any) -> Sequence[str]:
    """Returns the names of a ClassLabel, or of a list of them."""
    while isinstance(feature, (list, dict)):
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            return feature.get("names") or ()
        feature = feature.get("feature") if isinstance(feature, dict) else next(iter(feature), None)
    return ()


def _holds_media(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}
    return _holds_bytes(kind) or pa.types.is_string(kind)


def _holds_bytes(kind: Any) -> bool:
    return any(test(kind) for test in (pa.types.is_struct, pa.types.is_binary, pa.types.is_large_binary))


def _open(path: Path) -> tuple[Any, Callable[[_Columns], Iterator[_Row]]]:
    """Returns a table's schema, and what yields its rows for given columns."""
    if path.suffix.lower() == ".parquet":
        table = pq.ParquetFile(path)
        return table.schema_arrow, lambda columns: _parquet_rows(table, path, columns)
    whole = pa.memory_map(str(path)).read_buffer()
    try:
        opened = pa.ipc.open_stream(whole)
        batches = iter(opened)
    except pa.ArrowInvalid:
        opened = pa.ipc.open_file(whole)
        batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
    return opened.schema, lambda columns: _arrow_rows(batches, whole, path, columns)


def _parquet_rows(table: Any, path: Path, columns: _Columns) -> Iterator[_Row]:
    number = 0
    stated = {name: table.schema_arrow.field(name).type for name in columns.media.values()}
    leaves = [f"{name}.path" for name, kind in stated.items() if pa.types.is_struct(kind)]
    leaves += [name for name, kind in stated.items() if pa.types.is_string(kind)]
    for group in range(table.num_row_groups):
        # Bytes stay where they are: a group may be gigabytes.
        read = table.read_row_group(group, columns=[*columns.texts, *leaves]).to_pylist()
        for index in range(table.metadata.row_group(group).num_rows):
            row = read[index] if read else {}
            media: dict[str, tuple[Bytes | None, str]] = {}
            for kind, name in columns.media.items():
                value = row.get(name)
                named = str((value.get("path") if isinstance(value, dict) else value) or "")
                held = PackedCell(str(path.absolute()), group, index, name)
                media[kind] = _outside(path, named) or (held if _holds_bytes(stated[name]) else None), named
            yield _Row(number, {name: row.get(name) for name in columns.texts}, media)
            number += 1


def _arrow_rows(batches: Iterator[Any], whole: Any, path: Path, columns: _Columns) -> Iterator[_Row]:
    """Yields the rows of an Arrow file, whose values stand in it as they are: their places are noted."""
    number = 0
    for batch in batches:
        texts = {name: batch.column(name).to_pylist() for name in columns.texts}
        found = {kind: _values(batch.column(name), whole, path) for kind, name in columns.media.items()}
        for index in range(batch.num_rows):
            media = {kind: values[index] for kind, values in found.items()}
            yield _Row(number, {name: values[index] for name, values in texts.items()}, media)
            number += 1


def _values(column: Any, whole: Any, path: Path) -> list[tuple[Bytes | None, str]]:
    """Returns where each value of a column of media is, and the name it had."""
    names: list[str] = [""] * len(column)
    if pa.types.is_struct(column.type):
        names = [str(name or "") for name in column.field("path").to_pylist()]
        column = column.field("bytes")
    if pa.types.is_string(column.type):
        return [(_outside(path, name or "") or None, name or "") for name in column.to_pylist()]
    _, ends, data = column.buffers()
    width = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    places = np.frombuffer(ends, width)[column.offset : column.offset + len(column) + 1].tolist()
    first = data.address - whole.address if data is not None and places[-1] else 0
    if first < 0 or first + places[-1] > whole.size:
        raise ValueError("its values are compressed")
    found: list[tuple[Bytes | None, str]] = []
    for index, name in enumerate(names):
        size = places[index + 1] - places[index]
        inside = PackedSpan(str(path.absolute()), first + places[index], size) if size else None
        found.append((inside or _outside(path, name) or None, name))
    return found


def _outside(table: Path, name: str) -> str:
    """Returns the file that a row names in place of holding it, if there is one; paths start at the table."""
    place = table.parent / name
    return str(place.absolute()) if name and place.is_file() else ""


def _entry(row: _Row, table: str, path: Path, columns: _Columns) -> tuple[str, Member]:
    """Returns a clip and its name: the table's, and that of its file or else the row's number."""
    sample, shown = TarSample(), ""
    for kind, (part, name) in row.media.items():
        suffix = PurePosixPath(name).suffix.lower()
        valid = {"video": VIDEOS, "audio": SOUNDS, "image": PICTURES}[kind]
        if part is not None:
            sample.parts[suffix if suffix in valid else _NAMES[kind][1]] = part
        shown = shown or name
    packed = sample.packed()
    lost = next((name for part, name in row.media.values() if part is None and name), "")
    if packed.refusal and lost:
        packed = Packed(refusal=f"file not found: {printable(lost)}")
    written = str(row.texts.get(columns.split) or "").strip()
    split = SPLITS.get(written.lower())
    if split is None:
        packed, split = Packed(refusal=f"unknown split: {written[:40]}"), ""
    labels = labels_of(_named(row.texts.get(columns.label), columns.classes))
    id = str(row.texts.get(columns.id) or "")
    stem = PurePosixPath(shown).stem or "row"
    entry = Member(str(path.absolute()), labels, split or split_of(table), printable(id), packed)
    return f"{table}/{row.number:08d}/{printable(stem)}{packed.suffix}", entry


def _named(label: Any, classes: Sequence[str]) -> Any:
    """Returns the names of classes that are given by number."""
    if isinstance(label, list):
        return [_named(each, classes) for each in label]
    return classes[label] if isinstance(label, int) and 0 <= label < len(classes) else label

"""The tables of a prepared folder: manifest.parquet (usable clips) and rejected.csv (all others)."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.data.corpus.clips import MANIFEST
from avbench.errors import InputError
from avbench.files import atomic_path, canonical_json, sha256_text, write_text

# Rows of one Parquet row group: enough to compress well, few enough to hold in memory as Python objects.
_GROUP = 20_000
_HASHED_AT_ONCE = 65_536
_ESCAPED = r'["\\\x00-\x1f]'  # what JSON writes otherwise


# What reading clips needs; notes and sources stay on disk.
_COLUMNS = (
    "id",
    "labels",
    "split",
    "duration",
    "n_frames",
    "frame_times",
    "shard",
    "frame_offsets",
    "frame_sizes",
    "audio_offset",
    "audio_size",
    "sha256",
    "silent",
)
CHECKSUMS = ("frame_crc32", "audio_crc32")  # folders of older versions have none
_LARGE = ("frame_offsets", "frame_sizes", "sha256", "frame_times", "frame_crc32")


@dataclass(frozen=True)
class Summary:
    """What a manifest holds: ``sha256`` is the identity of its content (see :func:`content_hash`)."""

    clips: int
    silent: int
    seconds: float
    sha256: str


def schema() -> Any:
    """Returns the manifest's Arrow schema."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("labels", pa.list_(pa.string())),
            ("split", pa.string()),
            ("source", pa.string()),
            ("start", pa.float64()),
            ("duration", pa.float64()),
            ("n_frames", pa.int32()),
            ("frame_times", pa.list_(pa.float32())),
            ("n_samples", pa.int64()),
            ("sample_rate", pa.int32()),
            ("shard", pa.string()),
            ("frame_offsets", pa.list_(pa.int64())),
            ("frame_sizes", pa.list_(pa.int64())),
            ("audio_offset", pa.int64()),
            ("audio_size", pa.int64()),
            ("sha256", pa.string()),
            ("silent", pa.bool_()),
            ("notes", pa.string()),
            ("frame_crc32", pa.list_(pa.uint32())),
            ("audio_crc32", pa.uint32()),
            ("stored_sha256", pa.string()),  # of the bytes, where they are not those of which sha256 is
        ]
    )


def read_table(root: Path) -> Any:
    """Returns the columns of a prepared folder's manifest that reading clips needs, as an Arrow table.

    Raises:
        InputError: It has no readable manifest, or one without the columns needed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from avbench.data.corpus.columns import one_array

    path = root / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{path}: not found; valid: a folder written by 'avbench data prepare SOURCE --out"
            f" {shlex.quote(str(root))}'."
        )
    try:
        # Not pq.read_table, which imports pyarrow.dataset and pandas.
        file = pq.ParquetFile(path, page_checksum_verification=True)
        found = file.schema_arrow.names
        missing = [name for name in _COLUMNS if name not in found]
        if missing:
            raise InputError(f"{path}: lacks column '{missing[0]}'; prepare the folder again.")
        wanted = [*_COLUMNS, *(name for name in CHECKSUMS if name in found)]
        # One column after the other, the largest first: two million rows would otherwise be in memory two or three
        # times.
        columns = {
            name: one_array(file.read(columns=[name])[name]).cast(schema().field(name).type)
            for name in sorted(wanted, key=lambda name: name not in _LARGE)
        }
        pa.default_memory_pool().release_unused()
        return pa.table({name: columns[name] for name in wanted})
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a manifest of prepared clips ({reason}); prepare the folder again.") from None


def content_line(row: dict[str, Any]) -> str:
    """Returns what identifies one clip: id, split, labels and the hash of its bytes."""
    return canonical_json([row["id"], row["split"], list(row["labels"]), row["sha256"]])


def content_hash(lines: Iterable[str]) -> str:
    """Returns the identity of a set of clips: the hash of their sorted :func:`content_line`."""
    return sha256_text("\n".join(sorted(lines)))


def table_hash(tables: Iterable[Any]) -> str:
    """Returns :func:`content_hash` of the rows of Arrow tables with the columns id, split, labels and sha256.

    Lines of plain text are put together by Arrow, a row at a time only those that JSON has to escape: two million rows
    take seconds.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from avbench.data.corpus.columns import texts

    text = pa.large_string()

    def joined(*parts: Any) -> Any:
        return pc.binary_join_element_wise(*(texts([p])[0] if isinstance(p, str) else p for p in (*parts, "")))

    lines = []
    for batch in (batch for table in tables for batch in table.to_batches(_HASHED_AT_ONCE)):
        own = {name: batch[name].cast(text) for name in ("id", "split", "sha256")}
        labels = pc.binary_join(batch["labels"].cast(pa.list_(text)), texts(['","'])[0])
        some = pc.list_value_length(batch["labels"]).cast(pa.bool_())
        labels = pc.if_else(some, joined('["', labels, '"]'), texts(["[]"])[0])
        line = joined('["', own["id"], '","', own["split"], '",', labels, ',"', own["sha256"], '"]')
        # What is joined has quotes of its own, so labels are looked at one by one.
        special = pc.match_substring_regex(batch["labels"].flatten(), _ESCAPED)
        rows = pc.list_parent_indices(batch["labels"]).filter(special).to_pylist()
        for name in ("id", "split", "sha256"):
            rows += pc.indices_nonzero(pc.match_substring_regex(batch[name], _ESCAPED)).to_pylist()
        if rows:
            values = line.to_pylist()
            for row in set(rows):
                values[row] = content_line({name: batch[name][row].as_py() for name in batch.schema.names})
            line = pa.array(values, text)
        lines.append(line)
    whole = pa.chunked_array(lines, text).combine_chunks()
    del lines  # copies of the lines, like a sorted one, would cost as much as the columns they are made of
    order = pc.sort_indices(whole)  # by bytes of UTF-8, which is the order of code points
    digest = hashlib.sha256()
    for first in range(0, len(whole), _HASHED_AT_ONCE):
        part = "\n".join(whole.take(order.slice(first, _HASHED_AT_ONCE)).to_pylist())
        digest.update((("\n" if first else "") + part).encode())
    return digest.hexdigest()


def write_manifest(path: Path, parts: Iterable[list[dict[str, Any]]]) -> Summary:
    """Writes the rows of all parts, in order, to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = schema()
    lines: list[str] = []
    seconds: list[float] = []
    silent = 0
    group: list[dict[str, Any]] = []
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, columns, write_page_checksum=True) as writer:
        for rows in parts:
            group += rows
            lines += [content_line(row) for row in rows]
            seconds += [row["duration"] for row in rows]
            silent += sum(row["silent"] for row in rows)
            if len(group) >= _GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=columns))
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema=columns))
    return Summary(len(lines), silent, round(math.fsum(seconds), 3), content_hash(lines))


def write_rejected(path: Path, rows: Iterable[list[Any]]) -> None:
    """Writes (file, start in seconds, reason) of what could not be used."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "start", "reason"])
    for file, start, reason in rows:
        writer.writerow([file, f"{start:g}", reason])
    write_text(path, buffer.getvalue())

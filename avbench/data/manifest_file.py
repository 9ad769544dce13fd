"""The tables of a prepared folder: manifest.parquet (usable clips) and rejected.csv (all others)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.files import atomic_path, canonical_json, sha256_text, write_text

# Rows of one Parquet row group: enough to compress well, few enough to hold in memory as Python objects.
_GROUP = 20_000


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
        ]
    )


def content_line(row: dict[str, Any]) -> str:
    """Returns what identifies one clip: id, split, labels and the hash of its bytes."""
    return canonical_json([row["id"], row["split"], list(row["labels"]), row["sha256"]])


def content_hash(lines: Iterable[str]) -> str:
    """Returns the identity of a set of clips: the hash of their sorted :func:`content_line`."""
    return sha256_text("\n".join(sorted(lines)))


def write_manifest(path: Path, parts: Iterable[list[dict[str, Any]]]) -> Summary:
    """Writes the rows of all parts, in order, to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = schema()
    lines: list[str] = []
    seconds: list[float] = []
    silent = 0
    group: list[dict[str, Any]] = []
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, columns) as writer:
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

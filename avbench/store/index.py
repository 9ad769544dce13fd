"""All records of a results folder as rows, quickly: an index beside the runs says what was read of them before.

RESULTS/.cache/records.parquet has a line for each record. A line is read again when the record, or a stage that it was
read from, has another time of change or size. An index that is lost, damaged or another version's costs nothing but
time; where none can be written, the records are read each time. Per-sample outputs are not read here.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.files import atomic_path
from avbench.store.archive import runs_of
from avbench.store.reader import Reader, stamp_of
from avbench.store.records import SCHEMA, tell_older
from avbench.store.rows import COLUMNS, KEPT, NUMBERS, Entry, Row, rows_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

log = logging.getLogger("avbench")
FEW = 200  # records that are read sooner than an index
MANY = 2000  # records that one process reads before a second is worth starting
MOST_WORKERS = 8
VERSION = "3"
INDEX = Path(".cache", "records.parquet")
Stamped = tuple[str, tuple[int, int]]  # a run's folder, and the stamp of its record or of its archive


@dataclass(frozen=True)
class Records:
    """The records of a results folder, in order of their folders; ``broken``: the paths of those that are none."""

    rows: list[Row]
    broken: list[str]


def read(results: Path) -> Records:
    """Returns the records of a results folder; what cannot be read is named in a warning and left out.

    Records of an older schema are read as they are, and counted in one warning.
    """
    with _no_collection():
        return _read_folder(results)


def _read_folder(results: Path) -> Records:
    archived = {run: archive.stamp for run, archive in runs_of(results)}
    listed = sorted({**archived, **dict(_listing(results / "runs"))}.items())
    known = _indexed(results) if len(listed) > FEW else {}
    unchanged = functools.cache(functools.partial(_unchanged, results))
    found = {
        name: entry
        for name, stamp in listed
        if (entry := known.get(name)) is not None and entry[1:3] == stamp and unchanged(entry[3])
    }
    new = [each for each in listed if each[0] not in found]
    broken: list[str] = []
    for entries, unread in _read_all(results, new):
        found |= {entry[0]: entry for entry in entries}
        broken += unread
    for path in broken:
        log.warning("%s: not a readable record, left out", path)
    entries = [found[name] for name, _ in listed if name in found]
    if len(listed) > FEW and (len(new) > len(broken) or len(found) != len(known)):
        _write(results, entries)
    rows = list(rows_of(entries))
    tell_older(results, sum(row.schema != SCHEMA for row in rows))
    return Records(rows, broken)


def load_table(results: Path) -> pd.DataFrame:
    """Returns all records as a long table: one row for each run and metric.

    Columns: id, method, task, weights, data, split, seed, precision, n, ids_sha256, metric, value, low, high (95 %
    interval), chance, created, commit.
    """
    import pandas as pd

    shared = ("id", "method", "task", "weights", "data", "split", "seed", "precision", "n", "ids_sha256")
    lines = []
    for row in read(results).rows:
        about = [getattr(row, name) for name in shared]
        commit = (row.about.get("git") or {}).get("commit")
        chance, ends = row.chance, row.ci95
        for metric, value in row.metrics.items():
            bounds = ends.get(metric, (None, None))
            lines.append([*about, metric, value, *bounds, chance.get(metric), row.created, commit])
    columns = [*shared, "metric", "value", "low", "high", "chance", "created", "commit"]
    return pd.DataFrame(lines, columns=columns)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python from looking for garbage among rows, of which there is none: half of the time of many."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def _listing(runs: Path) -> Iterator[Stamped]:
    """Yields the folders that have a record."""
    with contextlib.suppress(FileNotFoundError), os.scandir(runs) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                stamp = stamp_of(f"{entry.path}/record.json")
                if stamp != (0, 0):
                    yield entry.name, stamp


def _unchanged(results: Path, sources: str) -> bool:
    """Tells whether what a row was read from beside its record is as it was."""
    return all(stamp_of(f"{results}/{path}") == tuple(stamp) for path, *stamp in json.loads(sources or "[]"))


def _read_all(results: Path, listed: Sequence[Stamped]) -> Iterator[tuple[list[Entry], list[str]]]:
    """Reads records, many by several processes: parsing takes nearly all of the time."""
    from avbench.processes import core_count

    workers = min(core_count(), len(listed) // MANY, MOST_WORKERS)
    if workers < 2:
        yield _read(results, listed)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    size = -(-len(listed) // (4 * workers))
    parts = [listed[start : start + size] for start in range(0, len(listed), size)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(functools.partial(_read, results), parts)


def _read(results: Path, listed: Sequence[Stamped]) -> tuple[list[Entry], list[str]]:
    """Returns the entries of some folders, and the paths that hold no record."""
    reader, entries, broken = Reader(results), [], []
    for name, stamp in listed:
        try:
            entries.append(reader.read(name, stamp))
        except InputError:
            broken.append(f"{results}/runs/{name}/record.json")
    return entries, broken


def _schema() -> pa.Schema:
    import pyarrow as pa

    often, text = pa.dictionary(pa.int32(), pa.string()), pa.string()
    kinds = {**dict.fromkeys(COLUMNS, often), **dict.fromkeys(("folder", "id", "created", "checkpoint", "spent"), text)}
    kinds |= dict.fromkeys(("changed", "size"), pa.int64())
    kinds |= {name: pa.int64() for name, kind in KEPT.items() if kind is int}
    return pa.schema([*kinds.items(), (NUMBERS, pa.list_(pa.float64()))], metadata={"version": VERSION})


def _indexed(results: Path) -> dict[str, Entry]:
    """Returns the entries of the index by folder; none where it is lost, damaged or another version's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(results / INDEX, page_checksum_verification=True) as file:
            found = file.schema_arrow
            if not found.equals(_schema()) or found.metadata != _schema().metadata:
                return {}
            table = file.read(use_threads=False)  # processes are forked later
    except (OSError, pa.ArrowException):
        return {}
    *columns, lists = (column.combine_chunks() for column in table.columns)
    flat, ends = lists.flatten().to_numpy().tolist(), lists.offsets.to_numpy().tolist()
    numbers = (flat[start:end] for start, end in itertools.pairwise(ends))
    return {entry[0]: entry for entry in zip(*map(_values, columns), numbers, strict=True)}


def _values(column: pa.Array) -> Sequence[Any]:
    """Returns a column's values; a text that occurs often is one object."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return found
    texts = column.dictionary.to_pylist()
    return [texts[i] for i in column.indices.to_numpy().tolist()]


def _write(results: Path, entries: Sequence[Entry]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    columns = [pa.array(column, kind) for column, kind in zip(zip(*entries, strict=True), schema.types, strict=True)]
    table = pa.table(columns, schema=schema) if entries else schema.empty_table()
    with contextlib.suppress(OSError), atomic_path(results / INDEX) as temporary:  # a folder may be read-only
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

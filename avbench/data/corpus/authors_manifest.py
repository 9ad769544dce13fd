"""The authors' files: the JSON manifest and the label CSV (docs/protocol/cavmae.md 2.1), read into columns."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from avbench.data.corpus.csv_file import read_named
from avbench.data.corpus.split_names import SPLITS, VALID
from avbench.errors import InputError

log = logging.getLogger("avbench")
FIELDS = ("video_id", "wav", "video_path")
_SIDES = FIELDS[1:]  # sound and pictures, of which one may be left out in all entries
SPLIT = "split"
_HEADER = ("index", "mid", "display_name")
_CHUNK = 65536
_LONGEST_NAME = 255  # bytes, between the slashes of a path
# Above this size Arrow parses: three times as fast, but its errors name no entry. Its blocks end at 2 GiB.
_LARGE, _LARGEST = 2**25, 2**31 - 2
_READ = object()  # stands for an entry whose text is already in the columns


class _Columns:
    """Takes entries while the JSON is parsed, so that two million dicts never exist at once."""

    def __init__(self) -> None:
        self._pending: list[tuple[str, ...]] = []
        self._chunks: list[Any] = []
        self._names = (*FIELDS, "labels", SPLIT)

    def hook(self, entry: dict[str, Any]) -> Any:
        if problem(entry) is not None:
            return entry
        self._pending.append((*(entry.get(name, "") for name in FIELDS), entry.get("labels", ""), _split(entry)))
        if len(self._pending) == _CHUNK:
            self._flush()
        return _READ

    def _flush(self) -> None:
        columns = zip(*self._pending, strict=True) if self._pending else ((),) * len(self._names)
        arrays = [pa.array(column, type=pa.large_string()) for column in columns]
        self._chunks.append(pa.record_batch(arrays, names=list(self._names)))
        self._pending = []

    def table(self) -> Any:
        self._flush()
        return _with_splits(pa.Table.from_batches(self._chunks).combine_chunks())


def _split(entry: dict[str, Any]) -> str:
    return SPLITS[entry.get(SPLIT, "").strip().lower()]


def _with_splits(table: Any) -> Any:
    """Leaves the column of splits out where no clip has one: such a manifest stays what it is without the column."""
    return table if pc.any(pc.not_equal(table[SPLIT], "")).as_py() else table.drop_columns([SPLIT])


def problem(entry: Any) -> str | None:
    """Returns what is wrong with one entry of a manifest, or None."""
    if not isinstance(entry, dict):
        return "is not an object with " + ", ".join(f"'{name}'" for name in FIELDS)
    for name in FIELDS:
        if name in _SIDES and name not in entry and any(side in entry for side in _SIDES):
            continue
        if name not in entry:
            return f"lacks '{name}'"
        if not isinstance(entry[name], str) or not entry[name]:
            return f"has '{name}' {entry[name]!r}; valid: a text that is not empty"
        if "\0" in entry[name]:
            return f"has '{name}' {entry[name]!r} with a NUL"
    if not isinstance(entry.get("labels", ""), str):
        return f"has 'labels' {entry['labels']!r}; valid: label mids joined by commas"
    for name in (*FIELDS, "labels"):
        text = entry.get(name, "")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            return f"has '{name}' {text[:60]!a} with half a sign; valid: Unicode text"
    for name in set(FIELDS[1:]) & entry.keys():
        if len(entry[name]) > _LONGEST_NAME and max(map(len, entry[name].encode().split(b"/"))) > _LONGEST_NAME:
            return f"has '{name}' of {len(entry[name])} characters; valid: names of at most {_LONGEST_NAME} bytes"
    split = entry.get(SPLIT, "")
    if not isinstance(split, str) or split.strip().lower() not in SPLITS:
        return f"has 'split' {split!r}; valid: {VALID} (or none)"
    return None


def _read_large(path: Path) -> Any | None:
    """Reads a large manifest with Arrow; None where anything about it is unexpected."""
    text = pa.struct([(name, pa.string()) for name in (*FIELDS, "labels", SPLIT)])
    options = pa.json.ParseOptions(
        explicit_schema=pa.schema([("data", pa.list_(text))]),
        newlines_in_values=True,
        unexpected_field_behavior="ignore",
    )
    size = path.stat().st_size
    try:
        read = pa.json.ReadOptions(use_threads=False, block_size=size + 1)
        content = pa.json.read_json(path, read_options=read, parse_options=options)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError):
        return None
    if content.num_rows != 1:
        return None
    entries = pc.list_flatten(content["data"].combine_chunks())
    if entries.null_count or len(entries) == 0:
        return None
    columns = [entries.field(name) for name in FIELDS]
    if any(column.null_count or pc.min(pc.binary_length(column)).as_py() == 0 for column in columns):
        return None
    written = pc.utf8_lower(pc.utf8_trim_whitespace(entries.field(SPLIT).fill_null(""))).dictionary_encode()
    names = written.dictionary.to_pylist()
    if any(name not in SPLITS for name in names):
        return None
    splits = pa.array([SPLITS[name] for name in names], pa.large_string()).take(written.indices)
    columns += [entries.field("labels").fill_null(""), splits]
    table = pa.table([column.cast(pa.large_string()) for column in columns], names=[*FIELDS, "labels", SPLIT])
    return _with_splits(table)


def read_manifest(path: Path) -> Any:
    """Reads a manifest, ``{"data": [{"video_id", "wav", "video_path", "labels"}, ...]}``.

    ``labels`` may be absent, and ``split`` there; of data with sound or pictures alone, so is the other's path in all
    entries, which then is empty in the table. Two million entries take seconds and about a gigabyte while reading.

    Returns:
        An Arrow table of text columns video_id, wav, video_path, labels and, where an entry has one, split.

    Raises:
        InputError: The file is not of this form; the message names what is wrong and where.
    """
    if _LARGE < _size(path) < _LARGEST:
        table = _read_large(path)
        if table is not None:
            return table
    columns = _Columns()
    fix = 'valid: {"data": [{"video_id", "wav", "video_path", "labels"}, ...]}'
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=columns.hook)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({str(error).splitlines()[0]}); {fix}.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {fix}.") from None
    if not isinstance(content, dict) or "data" not in content:
        raise InputError(f"{path}: no 'data' at the top; {fix}.")
    entries = content["data"]
    if not isinstance(entries, list):
        raise InputError(f"{path}: 'data' is {type(entries).__name__}, not a list; {fix}.")
    for k, entry in enumerate(entries):
        if entry is not _READ:
            raise InputError(f"{path}: entry {k} {problem(entry) or 'is nested'}; {fix}.")
    if not entries:
        raise InputError(f"{path}: 'data' is empty; {fix}.")
    table = columns.table()
    if table.num_rows != len(entries):
        raise InputError(f"{path}: found entries outside of 'data'; {fix}.")
    for side in _SIDES:
        bare = pc.indices_nonzero(pc.equal(table[side], ""))
        if 0 < len(bare) < len(table):
            raise InputError(f"{path}: entry {bare[0]} lacks '{side}', which others have; {fix}.")
    repeated = _repeated(table)
    if repeated is not None:
        log.warning("%s: video_id '%s' occurs more than once", path, repeated)
    return table


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _repeated(table: Any) -> str | None:
    ids = table["video_id"]
    if len(pc.unique(ids)) == len(ids):
        return None
    counts = pc.value_counts(ids)
    first = pc.index(pc.greater(counts.field("counts"), 1), True).as_py()
    return str(counts.field("values")[first].as_py())


def read_labels(path: Path) -> dict[str, str]:
    """Reads a label CSV with columns index, mid, display_name.

    Returns:
        mid to display name, in the order of the indices.

    Raises:
        InputError: The file is missing or malformed.
    """
    fix = f"valid: a CSV with the columns {','.join(_HEADER)}"
    header, lines = read_named(path, fix.removeprefix("valid: "), spaced=True)
    missing = [name for name in _HEADER if name not in header]
    if missing:
        raise InputError(f"{path}: no column '{missing[0]}'; {fix}.")
    rows = [(row["index"], row["mid"], row["display_name"]) for _, row in lines]
    for line, (index, mid, name) in enumerate(rows, start=2):
        if not re.fullmatch("[0-9]{1,9}", index) or not mid or not name:
            raise InputError(f"{path}: line {line} has index {index!r}, mid {mid!r}, display_name {name!r}; {fix}.")
    if sorted(int(index) for index, _, _ in rows) != list(range(len(rows))) or not rows:
        raise InputError(f"{path}: the indices of {len(rows)} rows are not 0 to {len(rows) - 1}; {fix}.")
    names = {mid: name for _, mid, name in sorted(rows, key=lambda row: int(row[0]))}
    if len(names) != len(rows):
        raise InputError(f"{path}: a mid occurs more than once; {fix}.")
    return _distinct(names)


def _distinct(names: dict[str, str]) -> dict[str, str]:
    # Two classes of one name would become one class: such names get their mid.
    seen: dict[str, int] = {}
    for name in names.values():
        seen[name] = seen.get(name, 0) + 1
    return {mid: name if seen[name] == 1 else f"{name} ({mid})" for mid, name in names.items()}


def find_labels(manifest: Path, named: str, mids: Sequence[str]) -> dict[str, str]:
    """Returns mid to class name for a manifest.

    Args:
        manifest: The manifest.
        named: The label CSV the user named; empty: ``labels.csv``, then ``class_labels_indices*.csv`` beside the
            manifest, the first that knows all mids. Where there is none, mids are their own names.
        mids: The labels that occur.

    Raises:
        InputError: The named file is missing, malformed, or does not know a mid.
    """
    if named:
        table = read_labels(Path(named))
        unknown = next((mid for mid in mids if mid not in table), None)
        if unknown is not None:
            raise InputError(f"{named}: no row for the label '{unknown}' of {manifest}; name another data.labels.")
        return table
    beside = [manifest.parent / "labels.csv", *sorted(manifest.parent.glob("class_labels_indices*.csv"))]
    for candidate in beside:
        if not candidate.is_file():
            continue
        table = read_labels(candidate)
        if all(mid in table for mid in mids):
            return table
        log.warning("%s: does not know all labels of %s; not used", candidate, manifest.name)
    return {mid: mid for mid in sorted(mids)}

"""The clips that a protocol evaluates on: a list in a file, or a named subset such as the papers' for retrieval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from avbench.data.catalogue.entry import DataSet, entry, names
from avbench.data.catalogue.join import find_file
from avbench.data.catalogue.prepare import ACCOUNT
from avbench.data.catalogue.rows import read_ids
from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.csv_file import read_cells
from avbench.data.prepare.source import SUFFIXES
from avbench.errors import InputError, unknown
from avbench.files import read_json
from avbench.files.paths import expanded

_VALID = (
    "a text file with an id on each line, a CSV (column id or video_id, else the first), or an authors' manifest.json"
)
_COLUMNS = ("id", "video_id", "video", "file")
_ENDINGS = SUFFIXES | {".jpg", ".jpeg", ".png"}


def read_subset(text: str, source: str, root: Path) -> list[str]:
    """Returns the ids that ``data.subset`` means, in the order of its list.

    Args:
        text: A file, or the name of a subset of the catalogue.
        source: What ``--data`` said.
        root: The folder of the clips.

    Raises:
        InputError: There is no such file or subset, or it cannot be read.
    """
    path = expanded(text)
    if path.is_file():
        return _read_file(path)
    found, places = _known(source, root)
    if found is None:
        raise InputError(f"data.subset: found '{text}', no such file; valid: {_VALID}.")
    return subset_ids(found, text, places)


def subset_ids(entry: DataSet, name: str, places: Sequence[Path]) -> list[str]:
    """Returns the ids of a subset, in the order of its list.

    Args:
        entry: The data set.
        name: One of ``entry.subsets``, such as ``retrieval``.
        places: Folders that may hold its file, themselves or in a direct sub-folder.

    Raises:
        InputError: There is no such subset, its file is not found, or it names other clips than the papers used.
    """
    if name not in entry.subsets:
        if not entry.subsets:
            raise InputError(f"data.subset: found '{name}', no such file, and {entry.name} has no named subsets.")
        raise unknown(f"subset of {entry.name}", name, entry.subsets)
    subset = entry.subsets[name]
    path = find_file([place for place in places if place.is_dir()], subset.files)
    if path is None:
        raise InputError(
            f"data.subset: no list of {entry.name}'s {name} subset in {', '.join(map(str, places))}; valid:"
            f" {' or '.join(subset.files)}, there or named; from {subset.obtain}."
        )
    ids = read_ids(entry, subset.format, path)
    if len(ids) != subset.count or hash_ids(ids) != subset.ids_sha256:
        raise InputError(
            f"{path}: found {len(ids)} clips with the hash {hash_ids(ids)[:12]}, valid: {subset.count} with"
            f" {subset.ids_sha256[:12]}; take the file from {subset.obtain}."
        )
    return ids


def _known(source: str, root: Path) -> tuple[DataSet | None, list[Path]]:
    """Returns the data set of the catalogue that the clips are of, and where its lists may be."""
    account = root / ACCOUNT
    places = [root]
    if account.is_file():
        content = read_json(account)
        places += dict.fromkeys(Path(file).parent for file in content["lists"])
        return entry(content["name"]), places
    return (entry(source) if source in names() else None), places


def _read_file(path: Path) -> list[str]:
    try:
        ids = _ids_of(path)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"data.subset: {path}: cannot be read ({error}); valid: {_VALID}.") from None
    if not ids:
        raise InputError(f"data.subset: {path}: found no id; valid: {_VALID}.")
    return list(dict.fromkeys(ids))


def _ids_of(path: Path) -> list[str]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        items = content["data"] if isinstance(content, dict) else content
        return [item if isinstance(item, str) else str(item["video_id"]) for item in items]
    if suffix == ".csv":
        rows = [cells for _, cells in read_cells(path, _VALID)]
        header = [cell.strip().lower() for cell in rows[0]] if rows else []
        named = [header.index(name) for name in _COLUMNS if name in header]
        # The field's own lists often have no header, and the id first.
        column, rows = (named[0], rows[1:]) if named else (0, rows)
        return [_stem(row[column]) for row in rows if len(row) > column and row[column].strip()]
    text = path.read_text(encoding="utf-8-sig")
    return [_stem(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _stem(text: str) -> str:
    name = PurePosixPath(text.strip())
    return name.stem if name.suffix.lower() in _ENDINGS else str(text.strip())

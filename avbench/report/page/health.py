"""The state of the data sets behind the records: what is there, missing, or was rejected, and why."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError, InputError
from avbench.files import canonical_json, read_json
from avbench.report.judged import located
from avbench.report.page.groups import BoardRow

NAMED = 10  # files named a list
_NOTHING: dict[str, Any] = {
    "counts": {},
    "reasons": [],
    "settings": {},
    "rejected": [],
    "splits": [],
    "account": [],
    "missing": [],
    "n_missing": 0,
    "broken": [],
}
_SPLITS = ("train", "tune", "test", "")


def data_sets(groups: Sequence[BoardRow]) -> list[dict[str, Any]]:
    """Returns each data set that records are of: its clips by split, what was rejected and why, what is missing."""
    sets: dict[str, dict[str, Any]] = {}
    for each in groups:
        settings = each.first.config.settings
        key = canonical_json([settings.get("data"), (settings.get("input") or {}).get("image_size")])
        entry = sets.setdefault(key, {"row": each.first, "runs": 0, "judged": {}})
        rows = (*each.rows, *each.older)
        entry["runs"] += len(rows)
        entry["judged"] |= {row.ids_sha256: (row.split, row.n) for row in rows}
    return [_described(entry) for entry in sets.values()]


def _described(entry: dict[str, Any]) -> dict[str, Any]:
    row, settings = entry["row"], entry["row"].config.settings
    found: dict[str, Any] = {
        "name": row.data,
        "source": (settings.get("data") or {}).get("source", ""),
        "runs": entry["runs"],
        "judged": sorted(entry["judged"].values()),
        "why": "",
        "folder": "",
        **_NOTHING,
    }
    try:
        source = located(settings)
    except AvbenchError as error:
        return {**found, "why": str(error)}
    found["folder"] = source.clips.name
    folder = source.clips if source.clips.is_dir() else source.clips.parent
    if not folder.is_dir():
        return {**found, "why": "The prepared clips are no longer on this machine."}
    return {**found, **_prepared(folder), **_catalogue(folder)}


def _prepared(folder: Path) -> dict[str, Any]:
    """Returns counts, reasons and settings of a prepared folder, its splits and the first rejected files."""
    about = _json(folder / "prepare.json")
    if not about:
        return {}
    rejected = _rows(folder / "rejected.csv")
    return {
        "counts": about.get("counts", {}),
        "reasons": sorted(about.get("reasons", {}).items(), key=lambda item: -item[1]),
        "settings": about.get("settings", {}),
        "rejected": [[row.get("file", ""), row.get("reason", "")] for row in rejected[:NAMED]],
        "splits": _splits(folder / "manifest.parquet"),
    }


def _splits(path: Path) -> list[list[Any]]:
    """Returns name and clips of each split, and how many labels its clips have among them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["split", "labels"])
    except (OSError, pa.ArrowInvalid, KeyError):
        return []
    counts = Counter(table["split"].to_pylist())
    names = sorted(counts, key=lambda name: (_SPLITS.index(name) if name in _SPLITS else len(_SPLITS), name))
    return [[name or "not split", counts[name]] for name in names]


def _catalogue(folder: Path) -> dict[str, Any]:
    """Returns the account of a set of the catalogue: clips listed, here, missing, broken and usable by split."""
    account = _json(folder / "catalogue.json")
    if not account:
        return {}
    missing = folder / "missing.txt"
    lines = missing.read_text(encoding="utf-8", errors="replace").split() if missing.is_file() else []
    return {
        "account": [
            [split, *(counts.get(name) for name in ("listed", "here", "missing", "broken", "usable"))]
            for split, counts in account.get("counts", {}).items()
        ],
        "missing": lines[:NAMED],
        "n_missing": len(lines),
        "broken": list(account.get("broken", {}).items())[:NAMED],
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = read_json(path)
    except InputError:
        return {}
    return value


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as handle:
            return list(csv.DictReader(handle))
    except (OSError, csv.Error):
        return []

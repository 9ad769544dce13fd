"""Reads records as entries of the index: what a row says of the record, and of the stages before it."""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.errors import InputError
from avbench.files import canonical_json, parse_json
from avbench.store import seal, stages
from avbench.store.archive import kept_text
from avbench.store.records import stage_folder
from avbench.store.rows import KEPT, OURS, Entry, Row, rows_of, trained_here

_ABOUT = ("git", "hardware", "versions")
_SPENT = ("stages", "wall_s", "device_hours")
_SOME = f"{OURS}any"  # in place of the path of weights that were trained here, which is another of each seed
_MOST = 2**63  # what whole numbers must be below


def row_of(record: Mapping[str, Any], results: Path) -> Row:
    """Returns a record that was just written or read as a row."""
    (row,) = rows_of([Reader(results).entry(str(record["id"]), (0, 0), record)])
    return row


class Reader:
    """Makes entries of records; what many of them say alike is kept once."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._texts: dict[bytes, str] = {}
        self._pasts: dict[str, tuple[str, list[str]]] = {}

    def read(self, folder: str, stamp: tuple[int, int]) -> Entry:
        """Returns the entry of a run's folder.

        Raises:
            InputError: It holds no record.
        """
        path = f"{self.results}/runs/{folder}/record.json"
        try:
            return self.entry(folder, stamp, parse_json(self._text_of(path), path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(f"{path}: found no record ({error!r}).") from None

    def entry(self, folder: str, stamp: tuple[int, int], record: Mapping[str, Any]) -> Entry:
        """Returns a record's entry.

        Args:
            folder: The name of its folder.
            stamp: Time of change and size of its file.
            record: What the file holds.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError: It is none.
        """
        kept = [record[key] for key in KEPT]
        for (key, kind), value in zip(KEPT.items(), kept, strict=True):
            if type(value) is not kind or (type(value) is int and not -_MOST <= value < _MOST):
                raise TypeError(key)
        metrics, config = record["metrics"], record["config"]
        chance, ends, none = record.get("chance") or {}, record.get("ci95") or {}, float("nan")
        numbers = [*map(float, metrics.values()), *(float(chance.get(key, none)) for key in metrics)]
        numbers += [float((ends.get(key) or (none, none))[side]) for side in (0, 1) for key in metrics]
        stages = record.get("stages") or {}
        settings, checkpoint = {key: value for key, value in config.items() if key != "seed"}, config.get("checkpoint")
        if trained_here(checkpoint or ""):
            settings["checkpoint"] = _SOME
        past, read = self._past(config)
        pretraining, beside = self._pretraining(stages)
        return (
            folder,
            *stamp,
            self._text([*read, *beside]) if read or beside else "",
            *kept,
            checkpoint or "",
            "\n".join(metrics),
            self._text(settings),
            past,
            canonical_json({key: record[key] for key in _SPENT if key in record}),
            self._text({key: record[key] for key in _ABOUT if key in record}),
            pretraining,
            numbers,
        )

    def _text_of(self, path: str) -> bytes:
        """Returns what a file holds, or what an archive holds of it."""
        try:
            with open(path, "rb") as handle:  # noqa: PTH123  # a Path each costs seconds in all
                return handle.read()
        except FileNotFoundError:
            text = kept_text(self.results, path.removeprefix(f"{self.results}/"))
            if text is None:
                raise
            return text

    def _text(self, value: Any) -> str:
        """Returns a value as JSON; most records are other seeds of one configuration, and marshal is faster."""
        raw = marshal.dumps(value, 2)
        if raw not in self._texts:
            self._texts[raw] = canonical_json(value)
        return self._texts[raw]

    def _past(self, config: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Returns :attr:`Config.past` as JSON, and the files that it was read from with their stamps."""
        source = str(config.get("checkpoint") or (config.get("train") or {}).get("init") or "")
        first = trained_here(source)
        if first not in self._pasts:
            found: list[dict[str, Any]] = []
            read: dict[str, Any] = {}
            stage = first
            while stage and stage not in read:  # no training comes after itself
                done, read[stage] = self._done("pretrain", stage)
                found.append(_training(done))
                stage = trained_here(found[-1].get("source", ""))
            self._pasts[first] = canonical_json(found), list(read.values())
        return self._pasts[first]

    def _pretraining(self, stages: Mapping[str, list[str]]) -> tuple[str, list[Any]]:
        """Returns the id of the pretraining behind a run; a run that found its features ready leaves that to them."""
        if stages.get("pretrain"):
            return str(stages["pretrain"][0]), []
        read = []
        for stage in ("vectors", "tokens"):
            for name in stages.get(stage, ()):
                done, stamp = self._done(stage, str(name))
                read.append(stamp)
                weights = (done.get("key") or {}).get("weights")
                if isinstance(weights, Mapping) and "pretrain" in weights:
                    return str(weights["pretrain"]), read
        return "", read

    def _done(self, stage: str, name: str) -> tuple[dict[str, Any], list[Any]]:
        """Returns what a stage says of itself, nothing where it is gone, and the file with its stamp."""
        folder = stage_folder(self.results, stage, name)
        file = [f"stages/{stage}/{name}/{seal.DONE}", *stamp_of(f"{folder}/{seal.DONE}")]
        try:
            return stages.done(self.results, stage, name), file
        except InputError:
            return {}, file


def _training(done: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what :attr:`Config.past` has of a training; nothing where it does not tell."""
    try:
        key = done["key"]
        parts: dict[str, Any] = {name: dict(key[name]) for name in ("options", "train")}
        parts |= {name: dict(key.get(name) or {}) for name in ("input", "init")}
        parts |= {name: str(key.get(name) or "") for name in ("method", "clips")}
        return {**parts, "source": str((done.get("init") or {}).get("source") or "")}
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def stamp_of(path: str) -> tuple[int, int]:
    """Returns time of change and size of a file; zeros: there is none."""
    try:
        stat = os.stat(path)  # noqa: PTH116  # a Path each costs a second
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size

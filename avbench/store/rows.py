"""A record as a row: what tables, figures and lists need of it, without its per-sample outputs."""

from __future__ import annotations

import functools
import json
import marshal
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.errors import InputError
from avbench.files import canonical_json, parse_json
from avbench.store import seal
from avbench.store.records import stage_folder

#: What a row has of its record as it stands there; a record without one of them is no record.
KEPT: Mapping[str, type] = {
    **dict.fromkeys(("id", "method", "task", "weights", "data", "split", "precision"), str),
    **dict.fromkeys(("ids_sha256", "data_sha256", "created"), str),
    **dict.fromkeys(("seed", "n", "schema"), int),
}
#: Beside these: folder and stamp of the record, and what is read of it and of the stages before it, as text.
COLUMNS = ("folder", "changed", "size", "sources", *KEPT, "names", "config", "past", "spent", "about", "pretraining")
NUMBERS = "numbers"  # the last column: of the metrics in ``names`` the values, chances, low and high ends
_CONFIGURED = ("method", "task", "weights", "data", "split", "precision")  # beside its settings, what makes a Config
_ABOUT = ("git", "hardware", "versions")
_SPENT = ("stages", "wall_s", "device_hours")
_OURS = "stages/pretrain/"  # in the path of weights that were trained here
_MOST = 2**63  # what whole numbers must be below
Entry = tuple[Any, ...]  # a row's columns, the numbers last


@dataclass(frozen=True, eq=False)
class Config:
    """What records of other seeds have in common, apart from the clips; runs of the same settings share one.

    Attributes:
        method: Its name; ``task``, ``weights``, ``data``, ``split`` and ``precision`` likewise.
        text: The record's config without the seed, as canonical JSON.
        past_text: Likewise of :attr:`past`.
    """

    method: str
    task: str
    weights: str
    data: str
    split: str
    precision: str
    text: str
    past_text: str

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The record's config without the seed."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @functools.cached_property
    def past(self) -> list[dict[str, Any]]:
        """What the trainings in these results that its weights come from say of themselves, the last first.

        Each has ``options``, ``train``, ``input``, ``init`` and ``source``; one that is gone is empty.
        """
        found: list[dict[str, Any]] = json.loads(self.past_text)
        return found


@dataclass(frozen=True, eq=False)
class Row:
    """One record; what it holds beside this is in its file.

    Attributes:
        folder: The name of its folder.
        changed: When the record was written last, ns.
        size: Of the record, bytes.
        sources: What else the row was read from: path below the results, time of change and size of each.
        id: The run's id; the others up to ``n`` as in the record.
        names: Of its metrics, a line each.
        config: Its settings.
        spent_text: JSON of :attr:`spent`; ``about_text`` likewise.
        pretraining: The id of the pretraining behind it; "": there was none, or it cannot be told.
        numbers: Of each metric the value; then of each the chance, low and high end, NaN where there is none.
    """

    folder: str
    changed: int
    size: int
    sources: str
    id: str
    method: str
    task: str
    weights: str
    data: str
    split: str
    precision: str
    ids_sha256: str
    data_sha256: str
    created: str
    seed: int
    n: int
    schema: int
    names: str
    config: Config
    spent_text: str = field(repr=False)
    about_text: str = field(repr=False)
    pretraining: str
    numbers: Sequence[float] = field(repr=False)

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """Key to value, fractions mostly."""
        return dict(zip(_lines(self.names), self.numbers, strict=False))

    @functools.cached_property
    def chance(self) -> dict[str, float]:
        """Key to what chance gives, where that is known."""
        return self._known(1)

    @functools.cached_property
    def ci95(self) -> dict[str, tuple[float, float]]:
        """Key to low and high end, where there is an interval."""
        low, high = self._known(2), self._known(3)
        return {key: (low[key], high[key]) for key in low}

    def _known(self, part: int) -> dict[str, float]:
        names = _lines(self.names)
        values = self.numbers[part * len(names) : (part + 1) * len(names)]
        return {key: value for key, value in zip(names, values, strict=True) if value == value}

    @property
    def spent(self) -> dict[str, Any]:
        """The record's ``stages``, ``wall_s`` and ``device_hours``, as far as it has them."""
        found: dict[str, Any] = json.loads(self.spent_text)
        return found

    @property
    def about(self) -> dict[str, Any]:
        """The record's ``git``, ``hardware`` and ``versions``, as far as it has them."""
        return _parsed(self.about_text)


@functools.lru_cache(maxsize=4096)
def _lines(names: str) -> tuple[str, ...]:
    return tuple(names.split("\n")) if names else ()


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def rows_of(entries: Sequence[Entry]) -> Iterator[Row]:
    """Yields entries as rows, which share their configurations."""
    configs: dict[tuple[str, ...], Config] = {}
    at = {name: i for i, name in enumerate(COLUMNS)}
    first, text, past = at["folder"], at["config"], at["past"]
    places = [at[name] for name in (*_CONFIGURED, "config", "past")]
    for entry in entries:
        key = tuple(entry[i] for i in places)
        if key not in configs:
            configs[key] = Config(*key)
        yield Row(*(*entry[first:text], configs[key], *entry[past + 1 :]))


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
            with open(path, "rb") as handle:  # noqa: PTH123  # a Path each costs seconds in all
                return self.entry(folder, stamp, parse_json(handle.read(), path))
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
        past, read = self._past(config)
        pretraining, beside = self._pretraining(stages)
        return (
            folder,
            *stamp,
            self._text([*read, *beside]) if read or beside else "",
            *kept,
            "\n".join(metrics),
            self._text({key: value for key, value in config.items() if key != "seed"}),
            past,
            canonical_json({key: record[key] for key in _SPENT if key in record}),
            self._text({key: record[key] for key in _ABOUT if key in record}),
            pretraining,
            numbers,
        )

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
            return seal.read_done(folder), file
        except InputError:
            return {}, file


def trained_here(source: str) -> str:
    """Returns the id of the pretraining that weights are of, by their path; "": they are others'."""
    return source.partition(_OURS)[2].partition("/")[0] if _OURS in source else ""


def _training(done: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what :attr:`Config.past` has of a training; nothing where it does not tell."""
    try:
        key = done["key"]
        parts = {name: dict(key[name]) for name in ("options", "train")}
        parts |= {name: dict(key.get(name) or {}) for name in ("input", "init")}
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

"""All records of a results folder as light rows, quickly: their settings once each, and an index beside the runs.

RESULTS/.cache/records.json holds what tables need of each record, by folder, size and time of change. It is written
anew when records came or went, and costs nothing but time when it is lost. Per-sample outputs are not read here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import marshal
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.data.locate import EMBEDDED
from avbench.errors import InputError
from avbench.files import atomic_path, canonical_json, parse_json
from avbench.report.facts import SHARED, facts
from avbench.store.records import SCHEMA, tell_older

log = logging.getLogger("avbench")
FEW = 2000  # records that one process reads before a second is worth starting
MOST_WORKERS = 8
VERSION = 5
INDEX = Path(".cache", "records.json")
# Settings that change no number, and paths: records that differ in these alone are seeds of one configuration.
_KEPT = ("id", "seed", "n", "ids_sha256", "data_sha256", "created", "schema")


@dataclass(frozen=True)
class Light:
    """One record.

    Attributes:
        id: The run's id, the name of its folder.
        seed: Of the run.
        n: Samples judged.
        ids_sha256: Hash of their sorted ids.
        data_sha256: Hash of their content and preparation.
        created: When, in ISO form.
        schema: Of the record.
        metrics: Key to value, fractions mostly.
        config: The settings it shares with its other seeds.
    """

    id: str
    seed: int
    n: int
    ids_sha256: str
    data_sha256: str
    created: str
    schema: int
    metrics: Mapping[str, float]
    config: Config

    @property
    def clips(self) -> str:
        """What was judged: numbers of other clips do not compare."""
        return clips(self.ids_sha256, self.config.facts)


def clips(ids_sha256: str, facts: Mapping[str, Any]) -> str:
    """Returns what tells a set of clips from others.

    Args:
        ids_sha256: Hash of the sorted ids.
        facts: See :class:`Config`. Generated clips have the same ids whatever the seed they were made from.
    """
    seed = facts.get("data.clips_seed", 0) if facts["data"] == EMBEDDED else 0
    return f"{ids_sha256} {seed}" if seed else ids_sha256


@dataclass(frozen=True, eq=False)
class Config:
    """What records of other seeds have in common, flat.

    Attributes:
        facts: ``method``, ``task``, ``weights``, ``data``, ``subset``, ``split``, ``precision``, ``presets``,
            ``checkpoint`` and the settings by dotted key, such as ``method.lambda_c``; of a checkpoint of ours those of
            its trainings. ``train.init`` is a name where there is one.
    """

    facts: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, str, str]:
        """Method, task and data."""
        return self.facts["method"], self.facts["task"], self.facts["data"]


class Archive:
    """The records of a results folder; those that cannot be read are left out and named in ``broken``."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.broken: list[str] = []
        self.rows: list[Light] = []
        self._places: dict[tuple[str, str, str], dict[int, list[Light]]] = {}
        self._load()

    def of(self, method: str, task: str, data: str) -> Iterator[tuple[Config, list[Light]]]:
        """Yields each configuration of a method, task and data set, given by their names, with its records.

        Args:
            method: The method.
            task: The task.
            data: The data set.
        """
        for rows in self._places.get((method, task, data), {}).values():
            yield rows[0].config, rows

    def data(self) -> set[str]:
        """Returns the names of all data sets that records are of."""
        return {data for _, _, data in self._places}

    def _load(self) -> None:
        index = self._index()
        known, texts = index["records"], index["configs"]
        numbers = {text: i for i, text in enumerate(texts)}
        listed = sorted(_listing(self.results / "runs"))
        fresh = {name: known[name] for name, stamp in listed if name in known and known[name][0] == stamp}
        new = [(name, stamp) for name, stamp in listed if name not in fresh]
        for part in _read_all(self.results, new) if new else ():
            places = [numbers.setdefault(text, len(numbers)) for text in part.texts]
            fresh |= {name: [stamp, places[i], *rest] for name, (stamp, i, *rest) in part.entries.items()}
            self.broken += part.broken
        for path in self.broken:
            log.warning("%s: not a readable record, left out", path)
        if new or len(fresh) != len(known):
            fresh = dict(sorted(fresh.items()))
            self._write({"version": VERSION, "configs": list(numbers), "records": fresh})
        configs: dict[int, Config] = {}
        by_number = list(numbers)
        for _, number, kept, metrics in fresh.values():
            if number not in configs:
                configs[number] = Config(json.loads(by_number[number]))
            config = configs[number]
            row = Light(**dict(zip(_KEPT, kept, strict=True)), metrics=metrics, config=config)
            self.rows.append(row)
            self._places.setdefault(config.place, {}).setdefault(number, []).append(row)
        tell_older(self.results, sum(row.schema != SCHEMA for row in self.rows))

    def _index(self) -> dict[str, Any]:
        try:
            with (self.results / INDEX).open("rb") as handle:
                index: dict[str, Any] = parse_json(handle.read(), self.results / INDEX)
            if (
                index["version"] == VERSION
                and isinstance(index["records"], dict)
                and isinstance(index["configs"], list)
            ):
                return index
        except (OSError, InputError, ValueError, KeyError, TypeError):
            pass
        return {"version": VERSION, "configs": [], "records": {}}

    def _write(self, index: dict[str, Any]) -> None:
        with contextlib.suppress(OSError), atomic_path(self.results / INDEX) as temporary:  # a folder may be read-only
            temporary.write_bytes(json.dumps(index, separators=(",", ":"), ensure_ascii=False).encode())


@dataclass
class _Reading:
    """What was read of some records: entries by folder, which refer to their configurations' facts by place."""

    texts: list[str] = field(default_factory=list)
    entries: dict[str, list[Any]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def _read_all(results: Path, listed: Sequence[tuple[str, list[int]]]) -> Iterator[_Reading]:
    """Reads records, many by several processes: parsing takes nearly all of the time."""
    from avbench.processes import core_count

    workers = min(core_count(), len(listed) // FEW, MOST_WORKERS)
    if workers < 2:
        yield _read(results, listed)
        return
    size = -(-len(listed) // (4 * workers))
    parts = [listed[start : start + size] for start in range(0, len(listed), size)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(functools.partial(_read, results), parts)


def _read(results: Path, listed: Sequence[tuple[str, list[int]]]) -> _Reading:
    found = _Reading()
    numbers: dict[str, int] = {}
    seen: dict[bytes, int] = {}
    for name, stamp in listed:
        path = f"{results}/runs/{name}/record.json"
        try:
            with open(path, "rb") as handle:  # noqa: PTH123  # a Path each costs seconds in all
                record = parse_json(handle.read(), path)
            config = {key: value for key, value in record["config"].items() if key != "seed"}
            # Most records are other seeds of a configuration that is known: its facts are worked out once.
            raw = marshal.dumps([*(record[key] for key in SHARED), config], 2)
            if raw not in seen:
                seen[raw] = numbers.setdefault(canonical_json(facts(record, results)), len(numbers))
            kept = [record[key] for key in _KEPT]
            metrics = record["metrics"]
            metrics.items()
        except (OSError, InputError, ValueError, KeyError, TypeError, AttributeError):
            found.broken.append(path)
            continue
        found.entries[name] = [stamp, seen[raw], kept, metrics]
    found.texts = list(numbers)
    return found


def _listing(runs: Path) -> Iterator[tuple[str, list[int]]]:
    """Yields the folders of records with size and time of change of each."""
    try:
        with os.scandir(runs) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    stat = os.stat(f"{entry.path}/record.json")  # noqa: PTH116  # a Path each costs a second
                except OSError:
                    continue
                yield entry.name, [stat.st_mtime_ns, stat.st_size]
    except FileNotFoundError:
        return

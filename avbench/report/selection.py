"""Which records fill a cell: those that fit its row and column, of the one configuration that fits best."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avbench import registry
from avbench.config import DataConfig, InputConfig, ModelConfig, TrainConfig
from avbench.data import catalogue
from avbench.recipes import presets
from avbench.report.archive import UNSHARED, Archive, Config, Light
from avbench.settings import to_dict

TRAINED = ("pretrained", "checkpoint", "given")
_CLOSE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a cell asks for.

    Attributes:
        method: Whose records.
        task: Of which task.
        data: Names of the data set.
        metric: Key of the metric.
        where: What the records' facts must be.
        soft: What they should be: settings of the published row.
        presets: Whose settings are the usual ones.
    """

    method: str
    task: str
    data: tuple[str, ...]
    metric: str
    where: Mapping[str, Any] = field(default_factory=dict)
    soft: Mapping[str, Any] = field(default_factory=dict)
    presets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """The records of a cell, the newest of each seed, of one configuration.

    Attributes:
        records: In order of seed.
        metric: Key of the metric.
        unlike: Settings of the published row that they do not have: name, theirs, published.
    """

    records: tuple[Light, ...]
    metric: str
    unlike: tuple[tuple[str, Any, Any], ...] = ()

    @property
    def values(self) -> list[float]:
        """The metric of each."""
        return [record.metrics[self.metric] for record in self.records]

    @property
    def clips(self) -> str:
        """Which clips all of them judged."""
        return self.records[0].clips


def find(archive: Archive, query: Query) -> Found | None:
    """Returns the records of a cell; None: none fit.

    Of several configurations that fit, the one is taken that has most settings of the published row, then most of the
    usual settings (the presets', else the defaults), then the clips that most records of this data are of, then most
    seeds, then the newest.
    """
    groups: dict[tuple[int, str, str], list[Light]] = {}
    for data in query.data:
        for config, records in archive.of(query.method, query.task, data):
            if query.metric in records[0].metrics and fits(config, records[0], query):
                for record in records:
                    groups.setdefault((id(config), record.data_sha256, record.ids_sha256), []).append(record)
    if not groups:
        return None
    usual = standard(query.method, query.task, query.presets)
    main = _main_clips(archive)

    def rank(records: list[Light]) -> tuple[Any, ...]:
        config = records[0].config
        return (
            -len(unlike(config, query.soft)),
            -sum(
                1 for key, value in usual.items() if key not in query.where and not same(config.facts.get(key), value)
            ),
            main[records[0].data_sha256],
            len({record.seed for record in records}),
            max(record.created for record in records),
            max(record.id for record in records),
        )

    chosen = max(groups.values(), key=rank)
    newest: dict[int, Light] = {}
    for record in sorted(chosen, key=lambda record: (record.created, record.id)):
        newest[record.seed] = record
    own = tuple(newest[seed] for seed in sorted(newest))
    return Found(records=own, metric=query.metric, unlike=tuple(unlike(own[0].config, query.soft)))


def fits(config: Config, record: Light, query: Query) -> bool:
    """Tells whether a configuration has the facts that a cell asks for; trained weights, unless it says otherwise."""
    facts = config.facts
    wanted = query.where if "weights" in query.where else {"weights": TRAINED, **query.where}
    for key, value in wanted.items():
        own = subset(facts, record) if key == "subset" else facts.get(key)
        if key == "task.freeze":
            own = bool(own)  # records from before there was a choice
        if key == "task.modes":
            own = own or ["multimodal"]
            own = [*own, value] if "all" in own else own
        if not same(own, value):
            return False
    return True


def subset(facts: Mapping[str, Any], record: Light) -> str:
    """Returns the name of the subset that was judged: as the settings say, or by the hash of its ids."""
    named = str(facts.get("subset", ""))
    if facts["data"] in catalogue.names():
        for name, each in catalogue.entry(facts["data"]).subsets.items():
            if each.ids_sha256 == record.ids_sha256:
                return name
    return named


def same(own: Any, wanted: Any) -> bool:
    """Compares a fact with what is wanted: one of several, a part of a list, numbers but for rounding."""
    if isinstance(own, (list, tuple)) and not isinstance(wanted, (list, tuple)):
        return any(same(each, wanted) for each in own)
    if isinstance(wanted, (list, tuple)):
        return list(own) == list(wanted) if isinstance(own, (list, tuple)) else any(same(own, each) for each in wanted)
    if isinstance(own, (int, float)) and isinstance(wanted, (int, float)):
        return abs(own - wanted) <= _CLOSE * max(1.0, abs(wanted))
    return bool(own == wanted)


def unlike(config: Config, soft: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns the settings that a configuration has, and has otherwise than wanted."""
    facts = config.facts
    return [(key, facts[key], value) for key, value in soft.items() if key in facts and not same(facts[key], value)]


@functools.cache
def standard(method: str, task: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns the usual settings by dotted key: the defaults of what needs no torch, and presets on top.

    Args:
        method: A method.
        task: A task.
        names: Presets, later over earlier.
    """
    found: dict[str, Any] = {}
    sections: dict[str, Any] = {
        "data": DataConfig(),
        "input": InputConfig(),
        "model": ModelConfig(),
        "train": TrainConfig(),
    }
    if task in registry.entries("task"):
        sections["task"] = registry.find("task", task).load().CONFIG()
    for section, values in sections.items():
        found |= {f"{section}.{key}": value for key, value in to_dict(values).items()}
    for name in names:
        preset = presets.load(name)
        layers: Iterable[Mapping[str, Any]] = (
            preset,
            preset.get(presets.METHODS, {}).get(method, {}),
            {"task": preset.get(presets.TASKS, {}).get(task, {})},
        )
        for layer in layers:
            for section in presets.SECTIONS:
                found |= {f"{section}.{key}": value for key, value in layer.get(section, {}).items()}
    for section in ("train", "task"):
        if found.get(f"{section}.steps"):
            found[f"{section}.epochs"] = None
    found["train.init"] = found["train.init"] or "none"
    return {key: value for key, value in found.items() if key not in UNSHARED and not key.startswith("data.")}


@functools.lru_cache(maxsize=4)
def _main_clips(archive: Archive) -> Counter[str]:
    return Counter(record.data_sha256 for record in archive.rows)

"""Which records fill a cell: those that fit its row and column, of the one configuration that fits best."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avbench import registry
from avbench.compare.configuration import AT_FIRST, BEFORE, EARLIER, PRETRAINED_ON, UNSHARED, Group, clips
from avbench.compare.outputs import Measured, measured
from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.data import catalogue
from avbench.errors import InputError
from avbench.recipes import presets
from avbench.recipes.recipe import Recipe, load
from avbench.report.records import Records
from avbench.running.folds import POOLED
from avbench.running.request import frames_of
from avbench.settings import Settings, to_dict
from avbench.store.rows import Row

TRAINED = ("pretrained", "checkpoint", "given")
_CLOSE = 1e-9
FRAMES = ("data.n_frames", "data.sampling", "data.like")  # of the section data, what is no choice of clips
BESIDE = ("task.modes", "task.missing")  # which models are fine-tuned and tested; each number is of one


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a cell asks for.

    Attributes:
        method: Whose records.
        task: Of which task.
        data: Names of the data set.
        metric: Key of the metric.
        where: What the records' facts must be.
        presets: Whose settings are the usual ones.
        recipe: How the published row's weights are obtained, whose settings are all compared; "": it is not known.
    """

    method: str
    task: str
    data: tuple[str, ...]
    metric: str
    where: Mapping[str, Any] = field(default_factory=dict)
    presets: tuple[str, ...] = ()
    recipe: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The records of a cell, the newest of each seed, of one configuration.

    Attributes:
        records: In order of seed.
        metric: Key of the metric.
        unlike: Settings of the published row that they do not have: name, theirs, published.
    """

    records: tuple[Row, ...]
    metric: str
    unlike: tuple[tuple[str, Any, Any], ...] = ()

    @property
    def values(self) -> list[float]:
        """The metric of each."""
        return [record.metrics[self.metric] for record in self.records]

    @functools.cached_property
    def measured(self) -> Measured:
        """What the mean of the values is of, as it is tested."""
        return measured(self.records, self.metric)

    @property
    def clips(self) -> str:
        """Which clips all of them judged."""
        return clips(self.records[0])


def find(archive: Records, query: Query) -> Found | None:
    """Returns the records of a cell; None: none fit.

    Of several configurations that fit, the one is taken that has most settings of the published row, then fewest
    changes over the presets it was run with, then most of the usual settings (the presets', else the defaults), then
    all folds of the data together, then the clips that most records of this data are of, then most seeds, then the
    newest.
    """
    groups = [
        each
        for data in query.data
        for each in archive.of(query.method, query.task, data)
        if query.metric in each.first.metrics and fits(each, query)
    ]
    if not groups:
        return None
    usual, row = standard(query.method, query.task, query.presets), published_row(query)
    main = _main_clips(archive)

    def changed(each: Group, settings: Mapping[str, Any]) -> int:
        asked = (key for key in settings if key not in query.where and key not in BESIDE)
        return sum(1 for key in asked if not same(each.facts.get(key), settings[key]))

    def rank(each: Group) -> tuple[Any, ...]:
        return (
            -len(unlike(each.facts, row)),
            -changed(each, _of_own_presets(each, query)),
            -changed(each, usual),
            each.first.split == POOLED,
            main[each.first.data_sha256],
            len(each.rows),
            max(record.created for record in each.rows),
            max(record.id for record in each.rows),
        )

    chosen = max(groups, key=rank)
    return Found(records=chosen.rows, metric=query.metric, unlike=tuple(unlike(chosen.facts, row)))


def _of_own_presets(each: Group, query: Query) -> dict[str, Any]:
    """Returns the usual settings by the presets that records were made with, else by the query's."""
    names = tuple(map(str, each.facts.get("presets") or ()))
    try:
        return standard(query.method, query.task, names or query.presets)
    except InputError:  # a preset that is no longer there
        return standard(query.method, query.task, query.presets)


def fits(group: Group, query: Query) -> bool:
    """Tells whether records have the facts that a cell asks for; else trained weights and clean clips."""
    wanted = {"weights": TRAINED, "data.corruption": ("", None), **query.where}  # None: of records before the setting
    for key, value in wanted.items():
        own = subset(group) if key == "subset" else group.facts.get(key)
        if key == "task.freeze":
            own = bool(own)  # records from before there was a choice
        if key == "task.modes":
            own = own or ["multimodal"]
            own = [*own, value] if "all" in own else own
        if not same(own, value):
            return False
    return True


def subset(group: Group) -> str:
    """Returns the name of the subset that was judged: as the settings say, or by the hash of its ids."""
    named = str(group.facts.get("subset", ""))
    if group.first.data in catalogue.names():
        for name, each in catalogue.entry(group.first.data).subsets.items():
            if each.ids_sha256 == group.first.ids_sha256:
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


def unlike(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns the settings that a configuration has, and has otherwise than wanted."""
    return [(key, facts[key], value) for key, value in wanted.items() if key in facts and not same(facts[key], value)]


def published_row(query: Query) -> dict[str, Any]:
    """Returns every setting of a published row's recipe that can change a number; nothing where it names none.

    What the cell asks for anyway, and which models and tests there are besides, is left out.
    """
    if not query.recipe:
        return {}
    recipe = load(query.recipe)
    whole = standard(query.method, query.task, query.presets, query.recipe)
    skipped = {*query.where, *BESIDE}
    if query.where.get("weights") == "untrained":
        skipped |= {key for key in whole if key.startswith("train.")}
    else:
        whole = {**whole, **({PRETRAINED_ON: recipe.data} if recipe.data else {}), **_past(recipe)}
    return {key: value for key, value in whole.items() if key not in skipped}


def _past(recipe: Recipe) -> dict[str, Any]:
    """Returns what an archive tells of a recipe's trainings that no setting of the record itself does."""
    found: dict[str, Any] = {EARLIER: len(recipe.chain) - 1}
    for depth, each in enumerate(reversed(recipe.chain)):
        for key, value in standard(each.method, "", each.preset, each.name).items():
            if key.startswith("input."):
                found[f"{BEFORE * depth}{AT_FIRST}{key}"] = value
            elif depth and key.startswith(("method.", "train.")) and key != "train.init":
                found[f"{BEFORE * depth}{key}"] = value
    return found


def _options(method: str) -> type[Settings] | None:
    """Returns the class of a method's options; None: records are of one that is not installed, broken or an encoder."""
    entry = registry.entries("method").get(method)
    if entry is None or entry.encoder:
        return None
    try:
        return entry.config_class
    except InputError:
        return None


@functools.cache
def standard(method: str, task: str, names: tuple[str, ...], trained: str = "") -> dict[str, Any]:
    """Returns the usual settings by dotted key: the defaults, and presets on top.

    Args:
        method: A method.
        task: A task.
        names: Presets, later over earlier.
        trained: A recipe, whose settings go on top; then those that can change a number are returned. "": none.
    """
    own = load(trained) if trained else None
    classes = dict(registry.entries("task"))
    sections: dict[str, Settings] = {"input": InputConfig(), "model": ModelConfig(), "train": TrainConfig()}
    if task in classes:
        sections["task"] = classes[task].config_class()
    if (options_of := _options(method)) is not None:
        sections["method"] = options_of()
    if own is not None:
        sections["data"] = frames_of(registry.find("method", method).card)
    found: dict[str, Any] = {EARLIER: 0} if own is None else {}  # nothing was trained before the training
    for section, values in sections.items():
        found |= {f"{section}.{key}": value for key, value in to_dict(values, identity_only=own is not None).items()}
    layers = [layer for name in names for layer in presets.layers(presets.load(name), method, task)]
    for layer in (*layers, own.sections if own is not None else {}):
        for section in presets.SECTIONS:
            found |= {f"{section}.{key}": value for key, value in layer.get(section, {}).items()}
    for section in ("train", "task"):
        if found.get(f"{section}.steps"):
            found[f"{section}.epochs"] = None
    if "method" in sections:  # a preset serves the whole family
        options = to_dict(sections["method"])
        found = {key: value for key, value in found.items() if key[:7] != "method." or key[7:] in options}
    found["train.init"] = own.weights if own is not None else found.get("train.init") or "none"
    return {key: value for key, value in found.items() if key not in UNSHARED and (key in FRAMES or key[:5] != "data.")}


@functools.lru_cache(maxsize=4)
def _main_clips(archive: Records) -> Counter[str]:
    return Counter(record.data_sha256 for record in archive.rows)

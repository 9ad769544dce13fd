"""Same configuration, other seeds: what decides how a run's numbers came about, and records put together by it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avbench.config import HOW, DataConfig
from avbench.data.locate import EMBEDDED
from avbench.files import canonical_json
from avbench.recipes.initial_weights import name_of
from avbench.settings import to_dict
from avbench.store.records import ID_LENGTH
from avbench.store.rows import Config, Row, trained_here

SHARED = ("method", "task", "weights", "data", "split", "precision")
#: Settings that change no number, and paths: records that differ in these alone are of one configuration.
UNSHARED = frozenset(
    f"{section}.{key}"
    for section, keys in {
        "data": ("source", "labels"),
        "train": HOW,
        "task": ("resamples", "bootstrap_seed", "pictures", "picture_folder", "weights"),
    }.items()
    for key in keys
)
PRETRAINED_ON = "pretraining data"  # a fact of runs that pretrain by themselves
EARLIER = "earlier trainings"  # a fact: how many there were before the last, each from the weights of the one before
BEFORE = "before: "  # in front of the facts of the training before
AT_FIRST = "pretraining "  # in front of what a pretraining was fed, where another run judged it


@dataclass(frozen=True, eq=False)
class Group:
    """Records of one configuration and the same clips: what a mean and a spread over seeds are of.

    Attributes:
        facts: What they share; see :func:`facts`.
        rows: The newest of each seed, in order of seed.
        older: Those that others of the same seed replace.
    """

    facts: Mapping[str, Any]
    rows: tuple[Row, ...]
    older: tuple[Row, ...] = ()

    @property
    def first(self) -> Row:
        """The record of the lowest seed."""
        return self.rows[0]


def group(rows: Iterable[Row]) -> list[Group]:
    """Returns records by configuration and clips, in the order of the first of each.

    Seeds of one configuration have equal :func:`facts`, and judged the same clips: of the same ids and, as prepared
    then, of the same content. What was decoded or generated anew is other clips, whatever the ids. Next to each other,
    however, configurations compare by :func:`clips`: one may read other frames, or a larger picture, of the same clip.
    """
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((_known(row.config)[1], row.ids_sha256, row.data_sha256), []).append(row)
    return [_group(members) for members in found.values()]


def _group(members: Sequence[Row]) -> Group:
    newest: dict[int, Row] = {}
    for row in sorted(members, key=lambda row: (row.created, row.id)):
        newest[row.seed] = row
    rows = tuple(newest[seed] for seed in sorted(newest))
    older = tuple(row for row in members if newest[row.seed] is not row) if len(rows) < len(members) else ()
    return Group(facts(rows[0].config), rows, older)


def clips(row: Row) -> str:
    """Returns what tells the clips that were judged from others: numbers of other clips do not compare.

    These are the ids; generated clips have the same ids whatever the seed and version they were made from.
    """
    return clips_of(row.ids_sha256, row.data, row.config.settings)


def clips_of(ids_sha256: str, data: str, config: Mapping[str, Any]) -> str:
    """Returns :func:`clips` of a record.

    Args:
        ids_sha256: Hash of the sorted ids.
        data: The name of the data.
        config: The record's.
    """
    version = EMBEDDED.get(data, 0)
    seed = (config.get("data") or {}).get("clips_seed") if version else 0
    return ids_sha256 + (f" {seed}" if seed else "") + (f" {data}" if version > 1 else "")


def facts(config: Config) -> Mapping[str, Any]:
    """Returns what a record shares with its other seeds, flat.

    ``method``, ``task``, ``weights``, ``data``, ``subset``, ``split``, ``precision``, ``presets``, ``checkpoint`` and
    the settings by dotted key, such as ``method.lambda_c``; of a checkpoint of ours those of its trainings.
    ``train.init`` is a name where there is one.
    """
    return _known(config)[0]


@functools.lru_cache(maxsize=2**16)
def _known(config: Config) -> tuple[Mapping[str, Any], str]:
    """Returns the facts, and them as text."""
    settings = config.settings
    found: dict[str, Any] = {key: getattr(config, key) for key in SHARED}
    for section in ("method", "task", "train", "input", "model", "data"):
        own = settings.get(section) or {}
        for key, value in {**(_usual() if own and section == "data" else {}), **own}.items():
            if key != "name" and f"{section}.{key}" not in UNSHARED:
                found[f"{section}.{key}"] = value
    found["presets"] = settings.get("presets", [])
    found["subset"] = found.pop("data.subset", "")
    if config.weights == "pretrained" and not settings.get("data", {}).get("eval_source"):
        found[PRETRAINED_ON] = config.data
    checkpoint = settings.get("checkpoint") or ""
    if trained_here(checkpoint):  # its settings tell what it is, and seeds have other files
        found |= _training(config.past)
        checkpoint = ""
    else:
        found |= _start(str(found.get("train.init") or ""), config.past)
    found["checkpoint"] = checkpoint.rpartition("/")[2]
    for section in ("train", "task"):
        if found.get(f"{section}.steps"):
            found[f"{section}.epochs"] = None  # unused where steps are set
    return found, canonical_json(found)


@functools.cache
def _usual() -> Mapping[str, Any]:
    """Returns the data's settings at their defaults: what a record did that is older than one of them, with its id."""
    return to_dict(DataConfig())


def _start(source: str, past: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what is known of the weights a training started from.

    ``train.init`` is ``none``, a known name, what the first of several trainings in the results had, or as given.
    """
    if not trained_here(source):
        return {"train.init": (name_of(source) or source) if source else "none", EARLIER: 0}
    before = _training(past)
    found = {f"{BEFORE}{key}": value for key, value in before.items() if key not in ("train.init", EARLIER)}
    return {**found, "train.init": before.get("train.init", "lost"), EARLIER: before.get(EARLIER, 0) + 1}


def _training(past: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the facts of the last of several trainings; nothing where it is gone."""
    if not past or not past[0]:
        return {}
    last = past[0]
    found = {f"method.{name}": value for name, value in last["options"].items()}
    found |= {f"train.{name}": value for name, value in last["train"].items()}
    found |= {f"{AT_FIRST}input.{name}": value for name, value in last["input"].items()}
    found |= {f"{AT_FIRST}method": last["method"], f"{AT_FIRST}clips": last["clips"][:ID_LENGTH]}
    source, init = last["source"], last["init"]
    if not source and init:
        source = f"timm:{init['timm']}" if "timm" in init else str(init.get("sha256", ""))[:ID_LENGTH]
    return {**found, **_start(source, past[1:])}

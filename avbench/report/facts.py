"""What a record says of how its numbers came about, beside its settings."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.errors import InputError
from avbench.recipes.initial_weights import name_of
from avbench.store import seal
from avbench.store.records import ID_LENGTH, stage_folder

SHARED = ("method", "task", "weights", "data", "split", "precision")
UNSHARED = frozenset(
    f"{section}.{key}"
    for section, keys in {
        "data": ("source", "labels"),
        "train": ("workers", "threads", "checkpoint_seconds", "keep_checkpoints", "log_every", "tensorboard"),
        "task": ("resamples", "bootstrap_seed", "pictures", "picture_folder", "weights"),
    }.items()
    for key in keys
)
PRETRAINED_ON = "pretraining data"  # a fact of runs that pretrain by themselves
EARLIER = "earlier trainings"  # a fact: how many there were before the last, each from the weights of the one before
BEFORE = "before: "  # in front of the facts of the training before
AT_FIRST = "pretraining "  # in front of what a pretraining was fed, where another run judged it
_OURS = "stages/pretrain/"  # in the path of weights that were trained here


def facts(record: Mapping[str, Any], results: Path) -> dict[str, Any]:
    """Returns what a record shares with its other seeds, flat; see :class:`Config`."""
    config = record["config"]
    found: dict[str, Any] = {key: record[key] for key in SHARED}
    for section in ("method", "task", "train", "input", "model", "data"):
        for key, value in config.get(section, {}).items():
            if key != "name" and f"{section}.{key}" not in UNSHARED:
                found[f"{section}.{key}"] = value
    found["presets"] = config.get("presets", [])
    found["subset"] = found.pop("data.subset", "")
    if record["weights"] == "pretrained" and not config.get("data", {}).get("eval_source"):
        found[PRETRAINED_ON] = record["data"]
    path = (config.get("checkpoint") or "").replace(os.sep, "/")
    if _OURS in path:  # ours: its settings tell what it is, and seeds have other files
        found |= _pretraining(results, path.partition(_OURS)[2].partition("/")[0])
        path = ""
    else:
        found |= _start(str(found.get("train.init") or ""), results)
    found["checkpoint"] = path.rpartition("/")[2]
    for section in ("train", "task"):
        if found.get(f"{section}.steps"):
            found[f"{section}.epochs"] = None  # unused where steps are set
    return found


def _start(source: str, results: Path) -> dict[str, Any]:
    """Returns what is known of the weights a training started from.

    ``train.init`` is ``none``, a known name, what the first of several trainings in the results had, or as given.
    """
    source = source.replace(os.sep, "/")
    if _OURS not in source:
        return {"train.init": (name_of(source) or source) if source else "none", EARLIER: 0}
    before = _pretraining(results, source.partition(_OURS)[2].partition("/")[0])
    found = {f"{BEFORE}{key}": value for key, value in before.items() if key not in ("train.init", EARLIER)}
    return {**found, "train.init": before.get("train.init", "lost"), EARLIER: before.get(EARLIER, 0) + 1}


@functools.cache
def _pretraining(results: Path, stage: str) -> dict[str, Any]:
    """Returns what a pretraining in the results says of itself; nothing where it is gone."""
    try:
        done = seal.read_done(stage_folder(results, "pretrain", stage))
        key = done["key"]
        found = {f"method.{name}": value for name, value in key["options"].items()}
        found |= {f"train.{name}": value for name, value in key["train"].items()}
        found |= {f"{AT_FIRST}input.{name}": value for name, value in key.get("input", {}).items()}
        init = key["init"] or {}
        source = (done.get("init") or {}).get("source", "")
    except (InputError, KeyError, TypeError, AttributeError):
        return {}
    if not source and init:
        source = f"timm:{init['timm']}" if "timm" in init else init.get("sha256", "")[:ID_LENGTH]
    return {**found, **_start(source, results)}

"""Runs of all published folds of a set, and the record of them together: each clip is judged once, in its own fold."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avbench import registry
from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.folds import fold_count
from avbench.errors import InputError
from avbench.files import canonical_json
from avbench.metrics.evidence import over_folds
from avbench.metrics.evidence_intervals import intervals
from avbench.processes import code_sha256
from avbench.settings import build
from avbench.store import provenance
from avbench.store.records import SCHEMA, content_id, read_per_sample, run_folder, usable_record, write_record
from avbench.tasks.base import TRAINING_CLIPS

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.running.asked import Request
    from avbench.running.plan import Plan
    from avbench.running.runner import Runner

POOLED = "folds"  # the split of a record of all folds
VERSION = 2  # 2: means over folds are among the metrics
Pooled = tuple[dict[str, Any], Path, bool]  # record, where it is, and whether it was there


def in_all_folds(requests: Sequence[Request], runner: Runner) -> list[Request]:
    """Returns each request once a fold of its data.

    Raises:
        InputError: The data have no folds.
    """
    found = []
    for request in requests:
        (config,) = runner.resolve_all([request], planning=True)
        source = runner.sources(config)[1]
        count = fold_count(source.clips)
        if not count:
            raise InputError(
                f"--folds: found no folds in {config.data.judged.source}, valid: a set that publishes some"
                " (esc50, ucf101), prepared with avbench data prepare NAME --root DIR."
            )
        sets = [(*request.sets, f"data.fold={fold}") for fold in range(1, count + 1)]
        found += [dataclasses.replace(request, sets=each) for each in sets]
    return found


def without_fold(config: RunConfig) -> RunConfig:
    """Returns what the runs of all folds have in common."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, fold=0))


def pooled_ids(plans: Iterable[Plan]) -> list[str]:
    """Returns the ids of the records of all folds, of each model, task and seed among the plans of single folds."""
    groups: dict[RunConfig, list[str]] = {}
    for plan in plans:
        if _learns(plan.config.task_name):
            groups.setdefault(without_fold(plan.config), []).append(plan.evaluation.id)
    return [_id(runs) for runs in groups.values()]


def pooled(records: Iterable[Mapping[str, Any]], results: Path, *, force: bool = False) -> list[Pooled]:
    """Writes, for each model and seed, the record of all its folds; of tasks that learn from training clips.

    ``metrics`` are over all clips of the folds together and, as ``audio/folds/top1``, means over the folds; ``folds``
    has each fold's.

    Args:
        records: Of single folds.
        results: The results folder.
        force: Write them also where they are there.

    Raises:
        InputError: A clip is tested in two folds.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if _learns(record["task"]):
            groups.setdefault(canonical_json(_same(record)), []).append(record)
    found: list[Pooled] = []
    for each in groups.values():
        run_id = _id([record["id"] for record in each])
        known = None if force else usable_record(results, run_id)
        if known is None:
            found.append((*_pool(each, results, run_id), False))
        else:
            found.append((known, run_folder(results, run_id) / "record.json", True))
    return found


def _learns(task: str) -> bool:
    return TRAINING_CLIPS in registry.find("task", task).card["needs"]


def _id(runs: Sequence[str]) -> str:
    return content_id({"stage": "folds", "schema": SCHEMA, "version": VERSION, "runs": list(runs)})


def _same(record: Mapping[str, Any]) -> list[Any]:
    config = dict(record["config"])
    config["data"] = {**config["data"], "fold": 0}
    return [record["method"], record["weights"], record["data"], config]


def _pool(records: Sequence[Mapping[str, Any]], results: Path, run_id: str) -> tuple[dict[str, Any], Path]:
    first = records[0]
    entry = registry.find("task", first["task"])
    task, options = entry.load().TASK, {k: v for k, v in first["config"]["task"].items() if k != "name"}
    config = build(entry.config_class, options)
    kept = [read_per_sample(results, record["id"]) for record in records]
    names = set.intersection(*(set(each) for each in kept))
    outputs = {name: np.concatenate([each[name] for each in kept]) for name in kept[0] if name in names}
    ids = outputs["id"].tolist()
    if len(set(ids)) < len(ids):
        raise InputError(f"--folds: found {len(ids) - len(set(ids))} clips tested in two folds, valid: each in one.")
    n = [record["n"] for record in records]
    outputs["fold"] = np.repeat(np.arange(len(n)), [len(each["id"]) for each in kept])
    evidence = over_folds(task.evidence(outputs, config), outputs["fold"])
    ends = intervals(
        evidence,
        first["task"],
        resamples=getattr(config, "resamples", 0),
        seed=getattr(config, "bootstrap_seed", 0),
    )
    # What a fold has not, such as d' of a perfect ranking, has no mean.
    everywhere = [name for name in evidence.values if all(name in record["metrics"] for record in records)]
    by_fold = {name: [record["metrics"][name] for record in records] for name in everywhere}
    found = {
        **first,
        "schema": SCHEMA,
        "id": run_id,
        "split": POOLED,
        "selection": {**first["selection"], "clips": len(ids), "held_out": "split", "left_out": {}},
        "config": {**first["config"], "data": {**first["config"]["data"], "fold": 0}},
        "n": len(ids),
        "ids_sha256": hash_ids(ids),
        "metrics": dict(evidence.values),
        "chance": _chance(records, evidence.values),
        "ci95": {name: list(pair) for name, pair in ends.items()},
        "folds": {
            "runs": [record["id"] for record in records],
            "n": n,
            "metrics": by_fold,
            "mean": {name: float(np.mean(values)) for name, values in by_fold.items()},
        },
        "wall_s": {"evaluate": round(sum(record["wall_s"]["evaluate"] for record in records), 3)},
        "device_hours": round(sum(record["device_hours"] for record in records), 6),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": provenance.git_state(),
        "code_sha256": code_sha256(),
        "versions": provenance.versions(),
    }
    return found, write_record(results, found, outputs)


def _chance(records: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    """Returns what chance gives over all clips, or of a mean over the folds over these."""
    found = {}
    for name in names:
        single = name.replace("folds/", "")
        if all(single in record["chance"] for record in records):
            weights = [record["n"] if name == single else 1 for record in records]
            found[name] = float(np.average([record["chance"][single] for record in records], weights=weights))
    return found


def lines(record: Mapping[str, Any]) -> list[str]:
    """Returns what a pooled record says of its folds: the mean over them and each one's value, a metric a line."""
    folds, model = record["folds"], f"{record['method']} ({record['weights']})"
    said = []
    for name, values in folds["metrics"].items():
        each = ", ".join(f"{value:.4f}" for value in values)  # fractions, as in the record
        said.append(f"{model} {name}: mean over {len(values)} folds {folds['mean'][name]:.4f} ({each})")
    return said

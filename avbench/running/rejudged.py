"""Records of runs whose recorded scores a task judges by something else: nothing is computed but its metrics."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.processes import code_sha256
from avbench.settings import Settings, to_dict
from avbench.store import provenance
from avbench.store.records import SCHEMA, content_id, run_folder, usable_record, write_record

log = logging.getLogger("avbench")
_NOT_OF_SCORES = ("name", "resamples", "bootstrap_seed")  # options of a task that do not change its scores


def rejudge(
    record: Mapping[str, Any], results: Path, task_name: str, options: Settings, annotations: Path, *, force: bool
) -> tuple[dict[str, Any], Path]:
    """Judges the scores of a run, or takes what is recorded; the new record is of the same method, data and seed.

    Args:
        record: The run's.
        results: The results folder.
        task_name: A task of recorded scores.
        options: Its options.
        annotations: What it judges by.
        force: Judge them also where that is recorded.

    Returns:
        The record, and where it is.

    Raises:
        InputError: The run keeps no scores, or they or the annotations cannot be used.
    """
    task = registry.find("task", task_name).load().TASK
    path = run_folder(results, record["id"]) / "per_sample.npz"
    for name, file in (("--annotations", annotations), (f"run {record['id']}", path)):
        if not file.is_file():
            raise InputError(f"{name}: {file}: no such file.")
    base = record["config"]["task"]
    scored = {name: value for name, value in base.items() if name not in _NOT_OF_SCORES}
    options = dataclasses.replace(options, of=record["task"], of_options=content_id(scored))  # type: ignore[call-arg]
    key = {
        "stage": "evaluation",
        "schema": SCHEMA,
        "run": record["id"],
        "scores": sha256_file(path),
        "annotations": sha256_file(annotations),
        "task": task_name,
        "task_version": task.version,
        "task_sources": registry.find("task", task_name).sources,
        "options": to_dict(options, identity_only=True),
    }
    run_id = content_id(key)
    known = None if force else usable_record(results, run_id)
    if known is not None:
        log.info("%s is recorded: reused", run_id)
        return known, run_folder(results, run_id) / "record.json"
    start = time.monotonic()
    result = task.evaluate_stored(path, annotations, options)
    seconds = time.monotonic() - start
    found = {
        **record,
        "schema": SCHEMA,
        "id": run_id,
        "task": task_name,
        "judged_run": record["id"],
        "selection": {**record.get("selection", {}), "clips": result.n},
        "config": {**record["config"], "task": {"name": task_name, **to_dict(options)}},
        "n": result.n,
        "ids_sha256": result.ids_sha256,
        "metrics": result.metrics,
        "chance": result.chance,
        "ci95": {name: list(interval) for name, interval in result.ci95.items()},
        "wall_s": {"evaluate": round(seconds, 3)},
        "device_hours": round(seconds / 3600, 6),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": provenance.git_state(),
        "code_sha256": code_sha256(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware("cpu"),
    }
    return found, write_record(results, found, result.per_sample)

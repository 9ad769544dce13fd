"""The record of a run: what was found, and all that it came from."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import RunConfig
from avbench.processes import code_sha256
from avbench.running import encoded
from avbench.running.exposure import told
from avbench.running.plan import Plan
from avbench.running.stages import read_done
from avbench.store import provenance
from avbench.store.records import SCHEMA

if TYPE_CHECKING:
    from avbench.running.identity import Stage
    from avbench.tasks.base import TaskResult


def make_record(plan: Plan, data: str, result: TaskResult, seconds: float, device: str) -> dict[str, Any]:
    """Returns the record of a run.

    Args:
        plan: The run, all whose stages are done.
        data: The name of the data.
        result: What the task found.
        seconds: How long it took.
        device: ``cpu`` or ``cuda``.
    """
    config = plan.config
    method = registry.find("method", config.method_name)
    used = {stage: read_done(stage)["wall_s"] if stage.done else 0.0 for stage in plan.stages[:-1]}
    # A stage that several runs share counts in each record: what the number costs where nothing is there yet.
    wall = {"evaluate": seconds}
    for stage, taken in used.items():
        wall[stage.name] = wall.get(stage.name, 0.0) + taken
    return {
        "schema": SCHEMA,
        "id": plan.evaluation.id,
        "method": method.shown,
        "task": config.task_name,
        "weights": config.weights,
        "data": data,
        "data_sha256": plan.evaluated.sha256,
        "split": plan.division.split,
        "selection": plan.division.selection(),
        "trained_on": told(plan.exposures),
        "seed": config.seed,
        "precision": config.precision,
        "config": _settings(config),
        "stages": {name: [s.id for s in used if s.name == name] for name in wall if name != "evaluate"},
        "n": result.n,
        "ids_sha256": result.ids_sha256,
        "metrics": result.metrics,
        "chance": result.chance,
        "ci95": {name: list(interval) for name, interval in result.ci95.items()},
        "wall_s": {name: round(seconds, 3) for name, seconds in wall.items()},
        "device_hours": round((sum(wall.values()) + _beside(used)) / 3600, 6),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": provenance.git_state(),
        "code_sha256": code_sha256(),
        "plug_ins": {
            **method.sources,
            **registry.find("task", config.task_name).sources,
        },
        "versions": provenance.versions(),
        "hardware": provenance.hardware(device),
    }


def _settings(config: RunConfig) -> dict[str, Any]:
    """Returns the settings of a run; of an encoder's those that it has, and what it is made of, hears and sees."""
    found, heard = config.to_dict(), encoded.wants(config)
    if heard is None:
        return found
    source = registry.find("method", config.method_name).source
    return {
        **{name: values for name, values in found.items() if name not in ("model", "input", "train")},
        "method": {**found["method"], "source": source},
        "encoder": {**dataclasses.asdict(heard), "modalities": list(heard.modalities)},
    }


def _beside(used: Mapping[Stage, float]) -> float:
    """Returns the seconds of further processes beside the one whose wall time is counted."""
    counts = {stage: int(read_done(stage).get("processes", 1)) for stage in used if stage.done}
    return sum(used[stage] * (count - 1) for stage, count in counts.items())

"""Records of what others computed: files of features or heat maps, judged by the same rules as a run."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import provenance, registry, store
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.settings import Settings, to_dict

if TYPE_CHECKING:
    from avbench.tasks.base import TaskResult

log = logging.getLogger("avbench")
WEIGHTS = "given"  # in place of ``pretrained`` or ``checkpoint``


@dataclass(frozen=True, kw_only=True)
class Given:
    """A file that somebody made, and how it is judged.

    Attributes:
        name: What its row is called, where a run has its method.
        path: The file.
        kind: ``features`` or ``heatmaps``.
        task: The task.
        options: The task's.
        data: The name of the data that its clips are of; "": not stated.
        annotations: What heat maps are judged by; None where nothing is.
    """

    name: str
    path: Path
    kind: str
    task: str
    options: Settings
    data: str = ""
    annotations: Path | None = None

    def __post_init__(self) -> None:
        """Checks the name.

        Raises:
            InputError: It is a method's, whose row it is not, or none.
        """
        methods = registry.entries("method")
        if not self.name.strip() or self.name in methods:
            found = "a method's name" if self.name in methods else "nothing"
            raise InputError(f"--name {self.name}: found {found}, valid: a name of its own, for its row in tables.")

    def key(self) -> dict[str, Any]:
        """Returns what decides the numbers, hashed to the record's id."""
        task = registry.find("task", self.task).load().TASK
        return {
            "stage": "evaluation",
            "schema": store.SCHEMA,
            "given": {"kind": self.kind, "name": self.name, "sha256": _sha256(self.path), "data": self.data},
            "annotations": None if self.annotations is None else _sha256(self.annotations),
            "task": self.task,
            "task_version": task.version,
            "task_sources": registry.find("task", self.task).sources,
            "options": to_dict(self.options, identity_only=True),
            "files": task.files(self.options),
        }


def _sha256(path: Path) -> str:
    """Returns the hash of a file, or of the names and hashes of all files of a folder."""
    if not path.is_dir():
        return sha256_file(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return store.content_id({each.relative_to(path).as_posix(): sha256_file(each) for each in files})


def judge(
    given: Given, results: Path, evaluate: Callable[[], tuple[TaskResult, Mapping[str, Any]]], *, force: bool = False
) -> tuple[dict[str, Any], Path]:
    """Judges a file, or takes what is recorded of it.

    Args:
        given: The file.
        results: The results folder.
        evaluate: Returns the result, and what the file says of itself.
        force: Judge it also where it is recorded.

    Returns:
        The record, and where it is.

    Raises:
        InputError: The file or the options cannot be used.
    """
    if not given.path.is_file():
        raise InputError(f"{given.path}: no such file; valid: an .npz, as `avbench features` writes it.")
    run_id = store.content_id(given.key())
    path = store.run_folder(results, run_id) / "record.json"
    record = None if force else store.usable_record(results, run_id)
    if record is not None:
        log.info("%s is recorded: reused", run_id)
        return record, path
    start = time.monotonic()
    result, said = evaluate()
    record = _record(given, run_id, result, said, time.monotonic() - start)
    return record, store.write_record(results, record, result.per_sample)


def _record(given: Given, run_id: str, result: TaskResult, said: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    task = registry.find("task", given.task)
    source = {key: value for key, value in said.items() if isinstance(value, Mapping)}  # sections of a run of ours
    data = given.data or str(source.get("data", {}).get("source", "")) or given.path.stem
    options = {"name": given.task, **to_dict(given.options)}
    return {
        "schema": store.SCHEMA,
        "id": run_id,
        "method": given.name,
        "task": given.task,
        "weights": WEIGHTS,
        "data": data,
        "data_sha256": result.ids_sha256,  # its clips are known by their ids alone
        "split": "given",
        "selection": {"clips": result.n, "of": result.n, "held_out": "none", "left_out": {}},
        "trained_on": {"known": False, "shared": 0},
        "seed": 0,
        "precision": "fp32",
        "config": {
            **source,
            "method": {**source.get("method", {}), "name": given.name},
            "task": options,
            "seed": 0,
            "precision": "fp32",
            "weights": WEIGHTS,
            "checkpoint": None,
            "presets": [],
            "given": {"kind": given.kind, "file": given.path.name, "sha256": sha256_file(given.path)},
        },
        "stages": {},
        "n": result.n,
        "ids_sha256": result.ids_sha256,
        "metrics": result.metrics,
        "chance": result.chance,
        "ci95": {name: list(interval) for name, interval in result.ci95.items()},
        "wall_s": {"evaluate": round(seconds, 3)},
        "device_hours": round(seconds / 3600, 6),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": provenance.git_state(),
        "code_sha256": provenance.code_sha256(),
        "plug_ins": dict(task.sources),
        "versions": provenance.versions(),
        "hardware": provenance.hardware("cpu"),
    }

"""Records of what others computed: files of features or heat maps, judged by the same rules as a run."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import SECTIONS, DataConfig, InputConfig
from avbench.errors import AvbenchError, InputError
from avbench.files import atomic_folder, sha256_file, write_json, write_sealed
from avbench.files.paths import check_folder_name, check_is_file
from avbench.processes import code_sha256
from avbench.settings import Settings, build, to_dict
from avbench.store import index, provenance, seal
from avbench.store.extracted import EMBEDDING, IDS
from avbench.store.records import SCHEMA, content_id, run_folder, stage_folder, usable_record, write_record

if TYPE_CHECKING:
    from avbench.store.features import Features
    from avbench.store.rows import Row
    from avbench.tasks.base import TaskResult

log = logging.getLogger("avbench")
WEIGHTS = "given"  # in place of ``pretrained`` or ``checkpoint``
VECTORS = "vectors"  # the stage in which the embeddings of runs are, too
_DIGITS = 6  # of the file's hash, in a name that is made for it
Judged = tuple["TaskResult", "Features | None"]


@dataclass(frozen=True, kw_only=True)
class Given:
    """A file that somebody made, and how it is judged.

    Attributes:
        path: The file.
        kind: ``features`` or ``heatmaps``.
        task: The task.
        options: The task's.
        name: What its row is called, where a run has its method; None: by its file.
        data: The name of the data that its clips are of; "": not stated.
        annotations: What heat maps are judged by; None where nothing is.
        labels: The CSV of labels that features or scores are judged by; None where nothing is.
    """

    path: Path
    kind: str
    task: str
    options: Settings
    name: str | None = None
    data: str = ""
    annotations: Path | None = None
    labels: Path | None = None

    def __post_init__(self) -> None:
        """Checks the file and its name.

        Raises:
            InputError: There is no such file, or the name is a method's, whose row it is not, or none.
        """
        check_is_file(self.path, valid="an .npz, as `avbench features` writes it")
        if self.labels is not None:
            check_is_file(self.labels, "--labels", "a CSV with the columns id,label[,split]")
        if self.name is None:
            return
        a_method = self.name in registry.entries("method")
        if a_method or not self.name.strip() or not self.name.isprintable():
            found = "a method's name" if a_method else repr(self.name)
            raise InputError(f"--name {self.name}: found {found}, valid: a name of its own, for its row in tables.")

    def named(self) -> list[Given]:
        """Returns it under the names that it can have, the first that is free being its own."""
        if self.name is not None:
            return [self]
        stem = self.path.stem
        own = f"{stem}-{sha256_file(self.path)[:_DIGITS]}"
        names = [own] if stem in registry.entries("method") else [stem, own]
        return [dataclasses.replace(self, name=name) for name in names]

    def key(self) -> dict[str, Any]:
        """Returns what decides the numbers, hashed to the record's id."""
        task = registry.find("task", self.task).load().TASK
        return {
            "stage": "evaluation",
            "schema": SCHEMA,
            "given": {"kind": self.kind, "name": self.name, "sha256": sha256_file(self.path), "data": self.data},
            "annotations": None if self.annotations is None else _sha256(self.annotations),
            **({} if self.labels is None else {"labels": sha256_file(self.labels)}),
            "task": self.task,
            "task_version": task.version,
            "task_sources": registry.find("task", self.task).sources,
            "options": to_dict(self.options, identity_only=True),
            "files": task.files(self.options),
        }


def _sha256(path: Path) -> str:
    """Returns the hash of a file, or of the names and hashes of all files of a folder.

    Raises:
        InputError: There is no such file or folder.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise InputError(f"--annotations {path}: no such file or folder; valid: annotations (docs/tasks.md).")
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return content_id({each.relative_to(path).as_posix(): sha256_file(each) for each in files})


def judge(
    given: Given, results: Path, evaluate: Callable[[], Judged], *, force: bool = False
) -> tuple[dict[str, Any], Path]:
    """Judges a file, or takes what is recorded of it.

    A name stands for one file on a set of clips: rows of tables are known by it. Where the file's own name is another
    file's already, or a method's, it gets the start of its hash; a name that the user gave is refused then.

    Args:
        given: The file.
        results: The results folder.
        evaluate: Returns the result, and the features where the file holds some.
        force: Judge it also where it is recorded, and in place of another file of the name that the user gave.

    Returns:
        The record, and where it is.

    Raises:
        InputError: The file or the options cannot be used, or the name is another file's.
    """
    candidates = given.named()
    ids = [content_id(each.key()) for each in candidates]
    for run_id in () if force else ids:
        record = usable_record(results, run_id)
        if record is not None:
            log.info("%s is recorded: reused", run_id)
            return record, run_folder(results, run_id) / "record.json"
    start = time.monotonic()
    result, features = evaluate()
    seconds = time.monotonic() - start
    peers = [each for each in index.read(results).rows if each.ids_sha256 == result.ids_sha256]
    said = {} if features is None else _json_sections(features.config)
    taken = [_others(each, peers, said) for each in candidates]
    chosen = next((i for i, each in enumerate(taken) if not each), len(candidates) - 1)
    own, run_id, others = candidates[chosen], ids[chosen], taken[chosen]
    if others and given.name is not None and not force:
        raise InputError(
            f"--name {given.name}: found another file recorded under it for these clips (run {others[0]}), valid: a"
            " name of its own; --force replaces that record."
        )
    stages = {} if features is None else {VECTORS: [_keep(features, sha256_file(own.path), results)]}
    record = _record(own, run_id, result, said, _data(own, result, said, peers), stages, seconds)
    path = write_record(results, record, result.per_sample)
    for other in others if given.name is not None else ():
        shutil.rmtree(run_folder(results, other), ignore_errors=True)
    return record, path


def _others(given: Given, peers: Sequence[Row], said: Mapping[str, Any]) -> list[str]:
    """Returns the records of other files that have its name, task and seed, among those of its clips."""
    place = (given.name, given.task, WEIGHTS, _seed(said))
    sha256 = sha256_file(given.path)
    return [
        each.id
        for each in peers
        if (each.method, each.task, each.weights, each.seed) == place
        and (each.config.settings.get("given") or {}).get("sha256") != sha256
    ]


def _json_sections(said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a file says of a run of ours that made it: its sections and its seed, as far as they are such.

    Others may mean something else by the same names, and whoever reads records takes their settings for what they are.
    """
    found: dict[str, Any] = {key: said[key] for key in said if key == "seed"}
    for name, kind in SECTIONS.items():
        if isinstance(said.get(name), Mapping):
            try:
                found[name] = to_dict(build(kind, said[name], name))
            except InputError:
                continue
    method = said.get("method")
    if isinstance(method, Mapping) and method.get("name") in list(registry.entries("method")):
        found["method"] = dict(method)
    return found


def _seed(said: Mapping[str, Any]) -> int:
    seed = said.get("seed")
    return seed if type(seed) is int and seed >= 0 else 0


def _data(given: Given, result: TaskResult, said: Mapping[str, Any], peers: Sequence[Row]) -> str:
    """Returns the name of the data: as stated, by the file, or by what else is recorded of the same clips."""
    if given.data or "data" in said:
        return given.data or data_name(build(DataConfig, said["data"]).judged.source)
    known = Counter(each.data for each in peers).most_common(1)
    return known[0][0] if known else f"clips-{result.ids_sha256[:8]}"


def data_name(source: str) -> str:
    """Returns what runs on some data call them, whose clips need not be here.

    Raises:
        InputError: It is no name, nor a path that ends in one.
    """
    from avbench.data.locate import locate

    try:
        name = locate(DataConfig(source=source), InputConfig()).name if source else ""
    except AvbenchError:  # a name that somebody gave, or a path on another machine
        path = Path(source)
        name = path.parent.name if path.name == "manifest.json" else path.name
        name = path.stem if path.suffix in (".csv", ".json") and path.name != "manifest.json" else name
    check_folder_name("--data", name)  # tables and figures of it go into a folder of that name
    return name


def _keep(features: Features, sha256: str, results: Path) -> str:
    """Keeps the embeddings as a run's are, so that fewer clips can be ranked again; returns the stage's id."""
    import numpy as np

    key = {"stage": VECTORS, "given": sha256}
    stage_id = content_id(key)
    folder = stage_folder(results, VECTORS, stage_id)
    if not (folder / seal.DONE).exists() or any(seal.damages(folder)):
        with atomic_folder(folder) as temporary:
            for side, values in features.sides.items():
                np.save(temporary / f"{EMBEDDING}{side}.npy", values)
            write_json(temporary / IDS, features.ids)
            told = {"id": stage_id, "key": key, "wall_s": 0.0, seal.FILES: seal.seal(temporary)}
            write_sealed(temporary / seal.DONE, told)
    return stage_id


def _record(
    given: Given,
    run_id: str,
    result: TaskResult,
    said: Mapping[str, Any],
    data: str,
    stages: Mapping[str, list[str]],
    seconds: float,
) -> dict[str, Any]:
    task, seed = registry.find("task", given.task), _seed(said)
    source = {key: value for key, value in said.items() if key != "seed"}
    options = {"name": given.task, **to_dict(given.options)}
    return {
        "schema": SCHEMA,
        "id": run_id,
        "method": given.name,
        "task": given.task,
        "weights": WEIGHTS,
        "data": data,
        "data_sha256": result.ids_sha256,  # its clips are known by their ids alone
        "split": "given",
        "selection": {"clips": result.n, "of": result.n, "held_out": "none", "left_out": {}},
        "trained_on": {"known": False, "shared": 0},
        "seed": seed,
        "precision": "fp32",
        "config": {
            **source,
            "method": {**source.get("method", {}), "name": given.name},
            "task": options,
            "seed": seed,
            "precision": "fp32",
            "weights": WEIGHTS,
            "checkpoint": None,
            "presets": [],
            "given": {"kind": given.kind, "file": given.path.name, "sha256": sha256_file(given.path)},
        },
        "stages": dict(stages),
        "n": result.n,
        "ids_sha256": result.ids_sha256,
        "metrics": result.metrics,
        "chance": result.chance,
        "ci95": {name: list(interval) for name, interval in result.ci95.items()},
        "wall_s": {**dict.fromkeys(stages, 0.0), "evaluate": round(seconds, 3)},
        "device_hours": round(seconds / 3600, 6),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": provenance.git_state(),
        "code_sha256": code_sha256(),
        "plug_ins": dict(task.sources),
        "versions": provenance.versions(),
        "hardware": provenance.hardware("cpu"),
    }

"""A finished run as it lies in the results folder: its record, what it keeps of each sample, and its embeddings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.compare.configuration import clips_of
from avbench.compare.outputs import archived
from avbench.config import MODALITIES
from avbench.errors import InputError
from avbench.files import read_json
from avbench.metrics.evidence import Evidence
from avbench.running.current import stale
from avbench.settings import Settings, build
from avbench.store import extracted, seal
from avbench.store.features import Features
from avbench.store.reader import row_of
from avbench.store.records import read_per_sample, run_ids, stage_folder, whole_record
from avbench.tasks.base import Task, positions

NAMED = 4  # ids named in an error
VECTORS = "vectors"


def find(results: Path, name: str) -> Run:
    """Returns the run of an id, or of the beginning of one id only.

    Raises:
        InputError: No id or several start with it, or the record cannot be read.
    """
    folder = results / "runs"
    known = run_ids(results)
    begin = [name] if name in known else [each for each in known if name and each.startswith(name)]
    if not begin:
        raise InputError(
            f"run {name}: no id of the {len(known)} runs in {folder} starts with '{name}'; valid: an id or its first"
            " digits (see: avbench list runs)."
        )
    if len(begin) > 1:
        more = ", ..." if len(begin) > NAMED else ""
        raise InputError(
            f"run {name}: found {len(begin)} run ids that start with it ({', '.join(begin[:NAMED])}{more}), valid: one;"
            " give more digits."
        )
    record = whole_record(results, begin[0])
    stale([row_of(record, results)], results)
    return Run(results, record)


@dataclass(frozen=True)
class Run:
    """One run; what it left is read when first asked for.

    Attributes:
        results: The results folder.
        record: Its record.
    """

    results: Path
    record: dict[str, Any]

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.record["id"])

    @property
    def name(self) -> str:
        """What it is, in words."""
        record = self.record
        return f"{record['method']} {record['task']} on {record['data']}, {record['weights']}, seed {record['seed']}"

    @functools.cached_property
    def task(self) -> Task[Any]:
        """Its task."""
        task: Task[Any] = registry.find("task", self.record["task"]).load().TASK
        return task

    @functools.cached_property
    def options(self) -> Settings:
        """The options of its task.

        Raises:
            InputError: They are those of another version of avbench.
        """
        values = {key: value for key, value in self.record["config"]["task"].items() if key != "name"}
        try:
            options: Settings = build(self.task.config_type, values, "task")
        except InputError as error:
            raise InputError(f"run {self.id}: {error} Another version recorded it; run it again.") from None
        return options

    @functools.cached_property
    def outputs(self) -> dict[str, npt.NDArray[Any]]:
        """Its per-sample outputs, ``id`` among them."""
        return read_per_sample(self.results, self.id)

    @property
    def ids(self) -> list[str]:
        """The samples it judged, in its order."""
        ids: list[str] = self.outputs["id"].tolist()
        return ids

    @property
    def clips(self) -> str:
        """Which clips it judged; see :func:`avbench.compare.configuration.clips`."""
        return self._clips(self.record["ids_sha256"])

    def _clips(self, ids_sha256: str) -> str:
        return clips_of(ids_sha256, self.record["data"], self.record["config"])

    def shared(self, other: Run) -> set[str]:
        """Returns the ids of the samples that another run judged, too."""
        return set(self.ids) & set(other.ids) if self._clips("") == other._clips("") else set()

    @functools.cached_property
    def archived(self) -> Evidence | None:
        """What its metrics are made of, where an archive alone has it: of all its samples, in the order of ids."""
        return archived(self.results, self.id)

    def evidence(self, ids: Sequence[str]) -> Evidence:
        """Returns what the metrics of some samples are made of, in the order of ``ids``.

        Raises:
            InputError: An id is not its own, or what it needs is gone.
        """
        if self.archived is not None:
            if list(ids) != self.ids:
                raise InputError(
                    f"run {self.id}: found it in an archive, which has what tests need of all its {len(self.ids)}"
                    f" samples, not of {len(ids)} of them; valid: the results folder it was archived from."
                )
            return replace(self.archived, values=self.record["metrics"])
        rows = positions(self.outputs["id"], ids)
        chosen = self.task.select(self.outputs, rows, self.options, self.embeddings)
        return self.task.evidence(chosen, self.options)

    def embeddings(self, ids: Sequence[str]) -> Features:
        """Returns the embeddings that it compared, of some of its clips.

        Raises:
            InputError: They are no longer in the results folder.
        """
        stages = self.record["stages"].get(VECTORS, [])
        folder = stage_folder(self.results, VECTORS, stages[0] if stages else "none")
        if not (folder / "done.json").exists():
            raise InputError(
                f"run {self.id}: found no embeddings in {folder} (stage '{VECTORS}'), needed to rank {len(ids)} of its"
                f" {self.record['n']} clips among each other; the run's command with --force makes them again."
            )
        seal.check(folder)
        arrays = extracted.arrays(folder)
        listed = folder / "ids.json"
        stored = read_json(listed, list) if listed.exists() else self.ids
        rows = positions(np.array(stored), ids)
        before = extracted.EMBEDDING if any(name.startswith(extracted.EMBEDDING) for name in arrays) else ""
        names = {side: f"{before}{side}" for side in MODALITIES if f"{before}{side}" in arrays}
        sides = {side: arrays[name][rows] for side, name in names.items()}
        if not before:
            sides = {side: extracted.unit_length(values) for side, values in sides.items()}
        scores = arrays[extracted.SCORES][rows][:, rows] if extracted.SCORES in arrays else None
        return extracted.paired(list(ids), sides, self.record["config"], scores)

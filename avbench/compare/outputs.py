"""What runs found by sample, resampled: a metric of every seed on the same resamples."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.compare.configuration import clips
from avbench.errors import InputError
from avbench.files import sha256_text
from avbench.metrics import bootstrap
from avbench.metrics.evidence import Evidence, Mean, over_folds
from avbench.metrics.hierarchical import Resampled, mean
from avbench.metrics.units import unit
from avbench.settings import Settings, build
from avbench.store.archive import holding
from avbench.store.records import read_per_sample, run_folder
from avbench.store.rows import Row
from avbench.tasks.base import Task, no_embeddings

Float64 = npt.NDArray[np.float64]
RESAMPLES = 1000
# Of metrics that are no means, such as mAP, where each resample takes a ranking; and of those of more than MANY clips.
FEW, FEWEST, MANY = 100, 40, 5000
_WHOLE = "*"  # in place of a stream: all that a run has
_LATEST = 32  # runs and streams whose outputs are held: the seeds of a row, metric after metric
DIFFERENCES = ("gain", "drop")  # metrics so called are made of the outputs of several maps or models


class Ran(NamedTuple):
    """One run and one of its numbers.

    Attributes:
        id: Of the run.
        created: When, in ISO form.
        seed: Of the run.
        value: The metric.
        chance: What chance gives, where that is known.
        ends: Of the run's own 95 % interval, where it has one.
    """

    id: str
    created: str
    seed: int
    value: float
    chance: float | None = None
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Measured:
    """A mean over seeds: runs that differ in nothing else, each seed once.

    Attributes:
        task: The task's name.
        metric: The metric's key.
        options: The task's options, as recorded.
        clips: Which clips were judged.
        runs: In order of seed.
    """

    task: str
    metric: str
    options: Mapping[str, Any]
    clips: str
    runs: tuple[Ran, ...]

    @functools.cached_property
    def name(self) -> str:
        """What tells it from others, as a hash."""
        return sha256_text(json.dumps([self.metric, self.clips, *(run[:2] for run in self.runs)]))[:20]


def measured(rows: Sequence[Row], metric: str) -> Measured:
    """Returns a metric of the rows of a group (:mod:`avbench.compare.configuration`), those without it left out."""
    first = rows[0]
    options = first.config.settings.get("task", {})
    runs = [
        Ran(row.id, row.created, row.seed, row.metrics[metric], row.chance.get(metric), row.ci95.get(metric))
        for row in rows
        if metric in row.metrics
    ]
    return Measured(first.task, metric, options, clips(first), tuple(runs))


class Outputs:
    """Reads the per-sample outputs of each run of a results folder once."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._drawn: dict[tuple[str, str], Float64] = {}
        self._units: dict[str, tuple[int, str]] = {}  # how many, and a hash of their names
        self._weights: dict[int, Float64] = {}
        self._made: dict[tuple[str, str], tuple[Evidence, bool]] = {}  # the latest; whether of all that there is

    def sample(self, measured: Measured) -> Resampled | None:
        """Returns a metric of every seed on the same resamples; None: outputs are gone, or not of the same clips."""
        names = [(run.id, measured.metric) for run in measured.runs]
        try:
            self._draw(measured, [run_id for run_id, metric in names if (run_id, metric) not in self._drawn])
            drawn = [self._drawn[name] for name in names]
        except (InputError, KeyError, ValueError):
            return None
        units = {self._units[run.id] for run in measured.runs}
        if len(units) > 1 or len({len(each) for each in drawn}) > 1:
            return None
        values = np.array([run.value for run in measured.runs])
        return Resampled(tuple(run.seed for run in measured.runs), values, np.stack(drawn), units.pop()[0])

    def interval(self, measured: Measured) -> tuple[float, float] | None:
        """Returns the 95 % interval of a mean over seeds; None where outputs are gone."""
        sample = self.sample(measured)
        return None if sample is None else mean(sample).interval(share=unit(measured.metric, measured.task).share)

    def _draw(self, measured: Measured, run_ids: Sequence[str]) -> None:
        """Draws the estimates of some runs, (R,) each: of all means, and of all that are none if the metric is."""
        means: dict[int, dict[tuple[str, str], Mean]] = {}  # by how many units there are
        for run_id in run_ids:
            evidence = archived(self.results, run_id) or self._evidence(run_id, measured)
            n = len(evidence.units)
            if run_id not in self._units:
                self._units[run_id] = n, sha256_text("\0".join(map(str, evidence.units.tolist())))
            if measured.metric not in evidence.means:
                self._drawn |= {(run_id, name): drawn for name, drawn in draws(evidence).items()}
            new = {(run_id, name): mean for name, mean in evidence.means.items() if (run_id, name) not in self._drawn}
            means.setdefault(n, {}).update(new)
        for n, each in means.items():
            if each:
                self._drawn |= dict(zip(each, _means(each, self._resamples(n)), strict=True))

    def _evidence(self, run_id: str, measured: Measured) -> Evidence:
        """Returns what was made of a run's outputs for this or another metric of its streams."""
        key, whole = (run_id, measured.metric.rpartition("/")[0]), (run_id, _WHOLE)
        for known, enough in (self._made[each] for each in (whole, key) if each in self._made):
            if enough or measured.metric in known.means:
                return known
        outputs = per_sample(self.results, run_id, measured.metric)
        enough = measured.metric not in outputs
        try:
            found = evidence_of(outputs, measured.task, measured.options)
        except KeyError:  # the task looks at arrays of other streams, too
            found = evidence_of(read_per_sample(self.results, run_id), measured.task, measured.options)
            key, enough = whole, True
        self._made = dict([*self._made.items()][-_LATEST:]) | {key: (found, enough)}
        return found

    def _resamples(self, n: int) -> Float64:
        """Returns how often each of n units was drawn, (R, n): the resamples of :mod:`avbench.metrics.bootstrap`."""
        if n not in self._weights:
            self._weights = {}  # those of one set of clips are enough
            found = np.empty((RESAMPLES, n))
            for part, index in bootstrap.chunks(n, RESAMPLES, 0):
                rows = len(index)
                counts = np.bincount((index + np.arange(rows)[:, None] * n).ravel(), minlength=index.size)
                found[part] = counts.reshape(rows, n)
            self._weights[n] = found
        return self._weights[n]


def archived(results: Path, run_id: str) -> Evidence | None:
    """Returns what the metrics of an archived run are made of, in the order of ids; None: it is in no archive alone.

    Raises:
        Damaged: The archive cannot be read.
    """
    archive = None if run_folder(results, run_id).exists() else holding(results, run_id)
    if archive is None:
        return None
    kept = archive.tests(run_id)
    drawn = {name: each.astype(np.float64) for name, each in kept.drawn.items()}
    means = {name: Mean(*(each.astype(np.float64) for each in pair)) for name, pair in kept.means.items()}
    return Evidence(kept.units, {}, means, lambda resamples, _: {n: each[:resamples] for n, each in drawn.items()})


def evidence_of(outputs: Mapping[str, npt.NDArray[Any]], task_name: str, options: Mapping[str, Any]) -> Evidence:
    """Returns what metrics are made of, in the order of ids: of every run the same, whatever order it had them in.

    Args:
        outputs: Per-sample outputs.
        task_name: The task.
        options: Its options, as recorded.
    """
    task: Task[Any] = registry.find("task", task_name).load().TASK
    given = {name: value for name, value in options.items() if name != "name" and value is not None}
    settings: Settings = build(task.config_type, given, "task")
    ids = outputs["id"]
    if (ids[1:] < ids[:-1]).any():
        outputs = task.select(outputs, np.argsort(ids, kind="stable"), settings, no_embeddings)
    evidence = task.evidence(outputs, settings)
    return over_folds(evidence, outputs["fold"]) if "fold" in outputs else evidence


def draws(evidence: Evidence) -> dict[str, Float64]:
    """Returns the estimates of metrics that are no means on the first resamples, (R,) each."""
    return dict(evidence.draw(FEW if len(evidence.units) <= MANY else FEWEST, 0))


def _means(means: Mapping[tuple[str, str], Mean], weights: Float64) -> Float64:
    """Returns means on resamples, (K, R), by one product with all totals and with each different count of samples."""
    counts = {each.counts.tobytes(): each.counts for each in means.values()}
    kinds = [len(means) + [*counts].index(each.counts.tobytes()) for each in means.values()]
    sums = weights @ np.stack([*(each.totals for each in means.values()), *counts.values()], axis=1)
    found: Float64 = (sums[:, : len(means)] / np.maximum(sums[:, kinds], 1)).T
    return found


def per_sample(results: Path, run_id: str, wanted: str) -> dict[str, Any]:
    """Returns the per-sample arrays that a metric may need, by name: those of its streams and those of none.

    Args:
        results: The results folder.
        run_id: The run.
        wanted: The metric's key, such as ``joint/mAP``.

    Raises:
        InputError: They are missing or unreadable.
    """
    streams = wanted.split("/")[:-1]

    def choose(there: Sequence[str]) -> list[str]:
        names = [name for name in there if _needed(name, streams)]
        # Of a mean of what is kept by sample, as top1, scores are not needed.
        return [name for name in names if not name.endswith("/scores")] if wanted in names else names

    return read_per_sample(results, run_id, choose)


def _needed(name: str, streams: Sequence[str]) -> bool:
    """Leaves out other streams' arrays, and those no metric is made of."""
    if name == "map" or name.endswith("_embedding"):
        return False
    before = name.split("/")[:-1]
    return bool(set(streams) & set(DIFFERENCES)) or all(part in streams for part in before)

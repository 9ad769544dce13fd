"""Whether two cells differ: a paired bootstrap over the clips that both judged, of the means over their seeds.

All runs of n clips share the resamples of :mod:`avbench.metrics.bootstrap`, so the difference of two cells on one
of them is that of their means over seeds. What was found is kept in RESULTS/.cache/paired.json.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.errors import InputError
from avbench.files import atomic_path, read_json, sha256_text
from avbench.metrics import bootstrap
from avbench.metrics.evidence import Evidence, of_scores
from avbench.report.archive import Light, per_sample
from avbench.report.tables.selection import Found
from avbench.settings import Settings, build

RESAMPLES = 1000
FEW, FEWEST = (
    100,
    40,
)  # of metrics that are no means, such as mAP, where each takes a ranking; and of more than MANY clips
MANY = 5000
NORMAL = 1.96  # standard deviations on both sides that hold 95 %
SEEDS = 5  # runs of each model of an ensemble that are read, at most
COMPARED = 3  # runs of a cell that the bootstrap resamples, at most: each costs as much as all else of the cell
CACHE = Path(".cache", "paired.json")
Float64 = npt.NDArray[np.float64]
VERSION = 2


class Judge:
    """Compares cells of one results folder, reading the per-sample outputs of each run once."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._drawn: dict[tuple[str, str], Float64 | None] = {}
        self._kept = self._read()
        self._new = False

    def tied(self, best: Found, other: Found) -> bool:
        """Tells whether the 95 % interval of the difference contains 0; False where the clips are not the same."""
        if best.clips != other.clips:
            return False
        key = sha256_text(json.dumps([VERSION, _name(best), _name(other)]))
        if key not in self._kept:
            self._kept[key] = self._interval(best, other)
            self._new = True
        ends = self._kept[key]
        return ends is not None and bool(ends[0] <= 0 <= ends[1])

    def save(self) -> None:
        """Keeps what was found, where the folder can be written to."""
        if self._new:
            with contextlib.suppress(OSError), atomic_path(self.results / CACHE) as temporary:
                temporary.write_text(json.dumps(self._kept), encoding="utf-8")

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = read_json(self.results / CACHE)
        except InputError:
            return {}
        return found

    def _interval(self, best: Found, other: Found) -> list[float] | None:
        drawn = [self._mean(found) for found in (best, other)]
        if drawn[0] is None or drawn[1] is None:
            return None
        count = min(len(drawn[0]), len(drawn[1]))
        apart = drawn[0][:count] - drawn[1][:count]
        apart = apart[np.isfinite(apart)]
        if len(apart) < 2:
            return None
        if count == RESAMPLES:
            return list(bootstrap.ends(apart))
        spread = NORMAL * float(apart.std(ddof=1))  # too few for percentiles
        return [float(apart.mean()) - spread, float(apart.mean()) + spread]

    def _mean(self, found: Found) -> Float64 | None:
        drawn = [self._estimates(record, found.metric) for record in found.records[:COMPARED]]
        known = [each for each in drawn if each is not None]
        return np.mean(known, axis=0) if known and len(known) == len(drawn) else None

    def _estimates(self, record: Light, metric: str) -> Float64 | None:
        key = (record.id, metric)
        if key not in self._drawn:
            try:
                self._drawn[key] = estimates(self._evidence(record, metric), metric)
            except (InputError, KeyError, ValueError):
                self._drawn[key] = None  # outputs that are gone, or of another version
        return self._drawn[key]

    def _evidence(self, record: Light, metric: str) -> Evidence:
        task = registry.find("task", record.config.facts["task"]).load().TASK
        values = {
            key.removeprefix("task."): value
            for key, value in record.config.facts.items()
            if key.startswith("task.") and value is not None
        }
        options: Settings = build(task.config_type, values, "task")
        evidence: Evidence = task.evidence(per_sample(self.results, record.id, metric), options)
        return evidence


def estimates(evidence: Evidence, metric: str) -> Float64 | None:
    """Returns a metric's estimates on the resamples, (R,), without those of other metrics; None: it has none."""
    if metric in evidence.means:
        mean = evidence.means[metric]
        drawn = resamples(len(mean.totals))
        found: Float64 = (drawn @ mean.totals) / np.maximum(drawn @ mean.counts, 1)
        return found
    if metric not in evidence.values:
        return None
    return evidence.draw(FEW if len(evidence.units) <= MANY else FEWEST, 0).get(metric)


@functools.lru_cache(maxsize=2)
def resamples(n: int) -> Float64:
    """Returns how often each of n units was drawn, (R, n): the resamples of :mod:`avbench.metrics.bootstrap`."""
    found = np.empty((RESAMPLES, n))
    for part, index in bootstrap.chunks(n, RESAMPLES, 0):
        rows = len(index)
        counts = np.bincount((index + np.arange(rows)[:, None] * n).ravel(), minlength=index.size)
        found[part] = counts.reshape(rows, n)
    return found


def ensemble(results: Path, audio: Sequence[Light], visual: Sequence[Light], metric: str) -> list[float]:
    """Returns a metric of two models together, seed by seed: of the mean of their probabilities (paper Table 1).

    Args:
        results: The results folder.
        audio: Runs of a model of sound.
        visual: Runs of a model of pictures.
        metric: Such as ``mAP``.
    """
    from avbench.tasks.classification import ensemble as mean

    found = []
    others = {record.seed: record for record in visual}
    for record in audio[:SEEDS]:
        other = others.get(record.seed)
        if other is None or other.clips != record.clips:
            continue
        with contextlib.suppress(InputError, KeyError):
            pair = [per_sample(results, each.id, f"{side}/x") for each, side in ((record, "audio"), (other, "visual"))]
            if np.array_equal(pair[0]["id"], pair[1]["id"]):
                scores = mean(
                    *(
                        registry.find("task", each.config.facts["task"]).load().TASK.probabilities(outputs, side)
                        for each, outputs, side in zip((record, other), pair, ("audio", "visual"), strict=True)
                    )
                )
                found.append(of_scores(pair[0]["id"], scores, pair[0]["target"]).values[metric])
    return found


def _name(found: Found) -> list[Any]:
    return [found.metric, *([record.id, record.created] for record in found.records[:COMPARED])]

"""Retrieval: each clip's sound looks for its picture among all pictures, and the reverse.

Source: paper Table 3; docs/protocol/cavmae.md 4; several frames a clip as in CAV-MAE Sync
(docs/protocol/cavmae_sync.md 3).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.metrics import retrieval as metric
from avbench.metrics.bootstrap import intervals
from avbench.metrics.evidence import Evidence, of_ranks
from avbench.metrics.sides import Aggregation
from avbench.metrics.units import unit
from avbench.settings import Settings, setting
from avbench.store.features import Features
from avbench.tasks.base import JOINT, Embeddings, Outputs, Task, TaskCard, TaskResult

CARD = TaskCard(
    summary="find a clip's picture by its sound and the reverse: R@1, R@5, R@10, median and mean rank",
    needs=("features", "vectors"),
    modalities=("audio", "visual"),
    abilities=("embeddings",),
    columns=("R@1", "R@5", "R@10", "median_rank"),
)


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(Settings):
    """Options of retrieval. With one frame a clip (CAV-MAE) every aggregation is the cosine."""

    aggregation: Aggregation = setting(
        "diagonal_mean", "cosines of frames to one number: same-index frames (diagonal) or all pairs (Sync)"
    )
    frame: int = setting(-1, "the one frame to compare, from 0; -1: all of them, aggregated", ge=-1)
    resamples: int = setting(
        1000, "bootstrap resamples for the 95 % intervals of ranks; 0: no intervals", ge=0, le=100_000
    )
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)


class Retrieval(Task[RetrievalConfig]):
    """Ranks by cosine similarity, ties as in a random order; metrics, intervals over queries, chance."""

    name = "retrieval"
    version = 3  # 3: ties count in R@k by the chance of a random order, Wilson's intervals of R@k
    resampled = "queries are resampled, the candidates stay the same"
    config_type = RetrievalConfig

    def spared(self, config: RetrievalConfig) -> frozenset[str]:
        """Returns that it compares sounds and pictures alone."""
        return frozenset({JOINT})

    def evaluate(self, features: Features, config: RetrievalConfig) -> TaskResult:
        """Evaluates both directions over all clips; see :class:`~avbench.tasks.base.Task`."""
        found = _ranks(features, config)
        outputs = _outputs(features.ids, found)
        return TaskResult(
            n=len(features.ids),
            ids_sha256=hash_ids(features.ids),
            metrics=metric.summarise(found),
            chance=metric.chance(len(features.ids)),
            ci95=_intervals(found, self.evidence(outputs, config), config) if config.resamples else {},
            per_sample=outputs,
        )

    def evidence(self, outputs: Outputs, config: RetrievalConfig) -> Evidence:
        """Returns what the metrics are made of: ranks and ties; see the base class."""
        ranks, ties = (
            {side: outputs[f"{side}_{name}"] for side in metric.DIRECTIONS if f"{side}_{name}" in outputs}
            for name in ("rank", "ties")
        )
        return of_ranks(outputs["id"], ranks, ties)

    def select(
        self, outputs: Outputs, rows: npt.NDArray[np.integer[Any]], config: RetrievalConfig, embeddings: Embeddings
    ) -> dict[str, npt.NDArray[Any]]:
        """Ranks the clips among each other, where they are fewer than there were; see the base class."""
        if len(rows) == len(outputs["id"]):
            return super().select(outputs, rows, config, embeddings)
        features = embeddings(outputs["id"][rows].tolist())
        return _outputs(features.ids, _ranks(features, config))


def _ranks(features: Features, config: RetrievalConfig) -> metric.Ranks:
    pair = compared(features, config)
    return metric.ranks(*pair, aggregation=config.aggregation, ids=features.ids, scores=features.scores)


def compared(features: Features, config: RetrievalConfig) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns the vectors of sounds and pictures that are compared, (n, F, d) each: of all frames or the one chosen.

    Raises:
        InputError: There is no such frame.
    """
    audio, visual = features.pair
    if config.frame >= 0 and features.scores is not None:
        raise InputError("task.frame: found a frame, valid: -1, as the encoder's own similarity takes all.")
    audio, visual = chosen_frame(config, audio, visual)
    return audio, visual


def chosen_frame(config: RetrievalConfig, *sides: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Returns vectors (n, F, d) of all frames, or of the one chosen.

    Raises:
        InputError: There is no such frame.
    """
    frames = min(side.shape[1] for side in sides)
    if config.frame >= frames:
        raise InputError(f"task.frame: found {config.frame}, valid: -1 to {frames - 1}, the frames there are.")
    return [side[:, config.frame : config.frame + 1] if config.frame >= 0 else side for side in sides]


def _intervals(found: metric.Ranks, evidence: Evidence, config: RetrievalConfig) -> dict[str, tuple[float, float]]:
    """Returns 95 % intervals over queries: Wilson's of the recalls, percentiles of the bootstrap of the ranks."""
    ends = {name: mean.interval() for name, mean in evidence.means.items() if unit(name).share}
    ranked = [name for name in metric.METRICS if not unit(name).share]
    statistics = {name: functools.partial(metric.statistic, name) for name in ranked}
    for direction, values in zip(metric.DIRECTIONS, found, strict=True):
        drawn = intervals(values, statistics, resamples=config.resamples, seed=config.bootstrap_seed)
        ends |= {f"{direction}/{name}": pair for name, pair in drawn.items()}
    keys = (f"{direction}/{name}" for direction in metric.DIRECTIONS for name in metric.METRICS)
    return {name: pair for name in keys if (pair := ends[name]) is not None}


def outputs_of(found: metric.Ranks) -> dict[str, npt.NDArray[Any]]:
    """Returns what is kept of each query: its counterpart's rank and how many are tied with it, (n,) each."""
    ranks = {f"{side}_rank": values for side, values in zip(metric.DIRECTIONS, found, strict=True)}
    ties = {f"{side}_ties": n for side, n in zip(metric.DIRECTIONS, found.ties, strict=True) if n is not None}
    return {**ranks, **ties}


def _outputs(ids: Sequence[str], found: metric.Ranks) -> dict[str, npt.NDArray[Any]]:
    return {"id": np.array(ids, dtype=np.str_), **outputs_of(found)}


CONFIG = RetrievalConfig
TASK = Retrieval()

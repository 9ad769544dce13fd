"""What evaluation costs at the usual sizes, held to limits, and beside it the way of the reference.

Retrieval: the plain loop over pairs of clips (:mod:`avbench.bench.retrieval`) takes hours at this size, so it runs on a
few clips and its time is scaled by the square of their number. Classification: scikit-learn, class by class, as in the
reference (docs/protocol/cavmae.md 3.4), at full size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.bench.retrieval import SYNC, draw, plain_ranks
from avbench.metrics.classification import summarise
from avbench.metrics.retrieval import ranks
from avbench.metrics.sides import AGGREGATIONS, Aggregation
from avbench.rng import numpy_stream

LABELLED = (20_000, 527)  # clips and classes of AudioSet's evaluation set
LIMITS: dict[Aggregation, float] = {name: 3.0 if name == "diagonal_mean" else 30.0 for name in AGGREGATIONS}
LABELLED_LIMIT = 3.0
_PLAIN_CLIPS = 16  # the loop at 1,545 clips would take hours
_POSITIVE = 0.004  # share of the classes that a clip has, as in AudioSet


@dataclass(frozen=True)
class Cost:
    """One evaluation: seconds, the most it may take, and the plain way's seconds."""

    name: str
    ours_s: float
    cpu_s: float  # of all threads
    limit_s: float
    plain_s: float
    scaled: bool  # the plain way's seconds are those of fewer clips, scaled

    @property
    def ratio(self) -> float:
        """How many times faster than the plain way."""
        return self.plain_s / self.ours_s


def labelled(clips: int, classes: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Returns scores and zeros and ones, (clips, classes) each; every class has a clip."""
    stream = numpy_stream(0, "benchmark evaluation", clips, classes)
    target = (stream.random((clips, classes)) < _POSITIVE).astype(np.int8)
    target[np.arange(classes) % clips, np.arange(classes)] = 1
    scores = stream.standard_normal((clips, classes), dtype=np.float32) + target
    return scores, target


def plain_classification(scores: npt.NDArray[np.float32], target: npt.NDArray[np.int8]) -> tuple[float, float]:
    """Returns mAP and mean AUC by scikit-learn, one class at a time."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    pairs = [
        (average_precision_score(target[:, k], scores[:, k]), roc_auc_score(target[:, k], scores[:, k]))
        for k in range(target.shape[1])
    ]
    ap, auc = (float(np.mean(values)) for values in zip(*pairs, strict=True))
    return ap, auc


def retrieval_cost(aggregation: Aggregation, shape: tuple[int, int, int] = SYNC, plain: int = _PLAIN_CLIPS) -> Cost:
    """Measures ranks in both directions: (clips, frames, width) of the features, and clips of the plain loop.

    Args:
        aggregation: How a clip's frames become one score.
        shape: (clips, frames, width) of the features.
        plain: Whether to measure the plain way as well.
    """
    audio, visual = draw(*shape)
    ours, cpu = _timed(lambda: ranks(audio, visual, aggregation=aggregation))
    few = min(plain, shape[0])
    loop, _ = _timed(lambda: plain_ranks(audio[:few], visual[:few], aggregation))
    size = " x ".join(f"{n:,}" for n in shape)
    name = f"retrieval, {size}, `{aggregation}`"
    return Cost(name, ours, cpu, LIMITS[aggregation], loop * (shape[0] / few) ** 2, scaled=few < shape[0])


def classification_cost(clips: int = LABELLED[0], classes: int = LABELLED[1]) -> Cost:
    """Measures mAP, mean AUC and d'."""
    scores, target = labelled(clips, classes)
    ours, cpu = _timed(lambda: summarise(scores, target))
    plain, _ = _timed(lambda: plain_classification(scores, target))
    return Cost(f"mAP and AUC, {clips:,} x {classes:,}", ours, cpu, LABELLED_LIMIT, plain, scaled=False)


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Returns wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def benchmark() -> list[Cost]:
    """Measures every aggregation and classification at full size; a minute or two."""
    return [*(retrieval_cost(aggregation) for aggregation in AGGREGATIONS), classification_cost()]


def table(costs: list[Cost]) -> str:
    """Returns the costs as a Markdown table."""
    lines = ["| what | ours s | CPU s | limit s | plain s | ratio |", "| --- | --: | --: | --: | --: | --: |"]
    for cost in costs:
        plain = f"{cost.plain_s:,.0f}{' (scaled)' if cost.scaled else ''}"
        cells = (cost.name, f"{cost.ours_s:.2f}", f"{cost.cpu_s:.2f}", f"{cost.limit_s:g}", plain, f"{cost.ratio:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

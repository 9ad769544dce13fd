"""Retrieval: seconds for the usual sizes, and the ratio to a plain double loop over pairs of clips.

The plain way is what the reference does (docs/protocol/cavmae.md 4; docs/protocol/cavmae_sync.md 3): for each direction
a Python loop over pairs, in each pair a dot product and two norms for every pair of frames it compares, then a sort of
every row.
"""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.bench.timing import Timing, compare
from avbench.metrics.retrieval import Ranks, ranks
from avbench.metrics.sides import AGGREGATIONS, Aggregation
from avbench.rng import numpy_stream

Float32 = npt.NDArray[np.float32]
SYNC = (1545, 16, 768)  # clips, frames, width of CAV-MAE Sync on the VGGSound subset (docs/protocol/cavmae_sync.md 3)
LARGE = (100_000, 1, 768)
FRAME_PAIRS: dict[Aggregation, Callable[[int], list[tuple[int, int]]]] = {
    "diagonal_mean": lambda frames: [(f, f) for f in range(frames)],
    "diagonal_max": lambda frames: [(f, f) for f in range(frames)],
    "mean": lambda frames: [(f, g) for f in range(frames) for g in range(frames)],
    "max": lambda frames: [(f, g) for f in range(frames) for g in range(frames)],
}


TARGET = 50.0


@dataclass(frozen=True)
class Absolute:
    """One measurement without a counterpart: the plain way would take hours."""

    name: str
    wall_s: float
    cpu_s: float  # of all threads; above wall_s where several cores worked
    peak_bytes: int  # growth of the process's largest memory, on top of the features; 0: no growth


def draw(clips: int, frames: int, width: int) -> tuple[Float32, Float32]:
    """Returns random features of the given size, audio and visual, (clips, frames, width) each.

    Args:
        clips: How many.
        frames: Vectors of each clip.
        width: Of a vector.
    """
    stream = numpy_stream(0, "benchmark retrieval", clips, frames, width)
    audio, visual = (stream.standard_normal((clips, frames, width), dtype=np.float32) for _ in range(2))
    return audio, visual


def plain_ranks(audio: Float32, visual: Float32, aggregation: Aggregation) -> Ranks:
    """Returns ranks the plain way, one pair of clips at a time; both (n, F, d).

    Args:
        audio: (n, F, d).
        visual: (n, F, d).
        aggregation: How a clip's frames become one score.
    """
    return Ranks(_plain(audio, visual, aggregation), _plain(visual, audio, aggregation))


def _plain(queries: Float32, candidates: Float32, aggregation: Aggregation) -> npt.NDArray[np.float64]:
    reduce: Callable[[list[float]], Any] = np.max if aggregation.endswith("max") else np.mean
    pairs = FRAME_PAIRS[aggregation](queries.shape[1])
    matrix = np.empty((len(queries), len(candidates)))
    for i, query in enumerate(queries):
        for j, candidate in enumerate(candidates):
            cosines = [
                np.dot(query[f], candidate[g]) / (np.linalg.norm(query[f]) * np.linalg.norm(candidate[g]))
                for f, g in pairs
            ]
            matrix[i, j] = reduce(cosines)
    return np.array([np.where(np.sort(row)[::-1] == row[i])[0][0] + 1.0 for i, row in enumerate(matrix)])


def benchmark(clips: int = 100, repeats: int = 1) -> list[Timing]:
    """Times ours against the plain loop on the same features; the loop's time grows with the square of the clips."""
    rows = []
    cases: list[tuple[int, int, Aggregation]] = [(clips, 1, "diagonal_mean"), (max(1, clips // 5), SYNC[1], "max")]
    for n, frames, aggregation in cases:
        audio, visual = draw(n, frames, SYNC[2])
        rows.append(
            compare(
                f"ranks of {n} x {frames} x {SYNC[2]}, {aggregation}",
                functools.partial(ranks, audio, visual, aggregation=aggregation),
                functools.partial(plain_ranks, audio, visual, aggregation),
                target=TARGET,
                repeats=repeats,
            )
        )
    return rows


def measure(shape: tuple[int, int, int] = SYNC, aggregations: Sequence[Aggregation] = AGGREGATIONS) -> list[Absolute]:
    """Measures ours alone: (clips, frames, width) of the features, once for each aggregation.

    The peak is the process's and never falls: measure what needs little memory first.
    """
    audio, visual = draw(*shape)
    measured = []
    for aggregation in aggregations:
        peak, wall, cpu = _peak(), time.perf_counter(), time.process_time()
        ranks(audio, visual, aggregation=aggregation)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        name = f"{' x '.join(map(str, shape))}, {aggregation}"
        measured.append(Absolute(name, wall, cpu, _peak() - peak))
    return measured


def _peak() -> int:
    """Returns the largest memory the process has held, in bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

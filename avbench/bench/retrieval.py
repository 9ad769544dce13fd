"""Retrieval: seconds for the usual sizes, and the ratio to a plain double loop over pairs of clips.

The plain way is what the reference does (facts/cavmae.md 4; facts/cavmae_sync.md 3): for each direction a Python loop
over pairs, in each pair a dot product and two norms for every pair of frames it compares, then a sort of every row.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.metrics.retrieval import AGGREGATIONS, Aggregation, Ranks, ranks
from avbench.rng import numpy_stream

Float32 = npt.NDArray[np.float32]
SYNC = (1545, 16, 768)  # clips, frames and width of CAV-MAE Sync on the VGGSound subset (facts/cavmae_sync.md 3)
LARGE = (100_000, 1, 768)
LOOP_CLIPS = 300  # the plain loop's time grows with the square; this many take seconds
FRAME_PAIRS: dict[Aggregation, Callable[[int], list[tuple[int, int]]]] = {
    "diagonal_mean": lambda frames: [(f, f) for f in range(frames)],
    "diagonal_max": lambda frames: [(f, f) for f in range(frames)],
    "mean": lambda frames: [(f, g) for f in range(frames) for g in range(frames)],
    "max": lambda frames: [(f, g) for f in range(frames) for g in range(frames)],
}


@dataclass(frozen=True)
class Measured:
    """One row of the benchmark."""

    name: str
    seconds: float  # ours, wall clock
    plain_seconds: float | None = None  # the plain way, same work, same run

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is; None where the plain way was not run."""
        return None if self.plain_seconds is None else self.plain_seconds / self.seconds


def draw(clips: int, frames: int, width: int) -> tuple[Float32, Float32]:
    """Returns random features of the given size, audio and visual, (clips, frames, width) each."""
    stream = numpy_stream(0, "benchmark retrieval", clips, frames, width)
    audio, visual = (stream.standard_normal((clips, frames, width), dtype=np.float32) for _ in range(2))
    return audio, visual


def plain_ranks(audio: Float32, visual: Float32, aggregation: Aggregation) -> Ranks:
    """Returns ranks the plain way, one pair of clips at a time; both (n, F, d)."""
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


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_loop(
    clips: int = LOOP_CLIPS, frames: int = 1, width: int = 768, aggregation: Aggregation = "diagonal_mean"
) -> Measured:
    """Measures ours against the plain loop on the same features."""
    audio, visual = draw(clips, frames, width)
    plain = _timed(lambda: plain_ranks(audio, visual, aggregation))
    ours = min(_timed(lambda: ranks(audio, visual, aggregation=aggregation)) for _ in range(3))
    return Measured(f"{clips} x {frames} x {width}, {aggregation}, against the plain loop", ours, plain)


def measure_aggregations(shape: tuple[int, int, int] = SYNC) -> list[Measured]:
    """Measures every aggregation at the size of CAV-MAE Sync's evaluation."""
    audio, visual = draw(*shape)
    size = " x ".join(map(str, shape))
    return [
        Measured(f"{size}, {each}", _timed(lambda each=each: ranks(audio, visual, aggregation=each)))  # type: ignore[misc]
        for each in AGGREGATIONS
    ]


def measure_large(shape: tuple[int, int, int] = LARGE) -> tuple[Measured, int]:
    """Measures a large gallery once; minutes. Returns its time, and the peak memory on top of the features in bytes.

    The peak is the process's: run this before anything that needs more.
    """
    audio, visual = draw(*shape)
    before = _peak()
    seconds = _timed(lambda: ranks(audio, visual))
    return Measured(" x ".join(map(str, shape)), seconds), _peak() - before


def _peak() -> int:
    """Returns the largest memory the process has held, in bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

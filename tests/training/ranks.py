"""Processes that pretrain together, and what they leave."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SMALL_RUN = ["data.train_clips=32", "data.test_clips=8", "train.batch_size=16", "train.workers=0", "train.log_every=1"]


class Ranks:
    """``avbench pretrain`` in several processes, as torchrun would start them.

    Args:
        cache: Where the clips are.
        results: Where to write.
        methods: What to train.
        settings: Of each training, beside :data:`SMALL_RUN`.
        world: How many processes.
        options: More of the command line.
    """

    def __init__(
        self,
        cache: Path,
        results: Path,
        methods: Sequence[str],
        settings: Sequence[str],
        world: int,
        options: Sequence[str] = (),
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [sys.executable, "-m", "avbench", "pretrain", "--method", *methods, "--results", str(results)]
        shared = {**os.environ, "AVBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        if world > 1:
            shared |= {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.processes = [
            subprocess.Popen(
                [*words, *options, "--set", *SMALL_RUN, *settings],
                env=shared | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]

    def wait(self, seconds: float = 240) -> list[tuple[int, str, str]]:
        """Status, output and errors of each process."""
        end = time.monotonic() + seconds
        found = []
        try:
            for process in self.processes:
                out, err = process.communicate(timeout=end - time.monotonic())
                found.append((process.returncode, out, err))
        finally:
            for process in self.processes:
                process.kill()
        return found


def train(
    cache: Path,
    results: Path,
    methods: Sequence[str],
    settings: Sequence[str],
    world: int,
    options: Sequence[str] = (),
) -> None:
    """Trains to the end, and checks that only the first process says so."""
    found = Ranks(cache, results, methods, settings, world, options).wait()
    assert [status for status, *_ in found] == [0] * world, found
    assert [out.count("weights: ") for _, out, _ in found] == [len(methods)] + [0] * (world - 1)


def losses(results: Path) -> dict[str, np.ndarray]:
    """Every column of every training that does not measure time, by the training's id."""
    tables = {}
    for path in results.glob("stages/pretrain/*/metrics.csv"):
        rows = list(csv.DictReader(path.open()))
        names = [name for name in rows[0] if name not in {"clips_per_s", "wall_s", "data_wait_share"}]
        tables[path.parent.name] = np.array([[float(row[name] or 0) for name in names] for row in rows])
    return tables


def same_losses(one: Path, other: Path, trainings: int) -> None:
    """Checks that two result folders hold the same trainings with the same losses, to 1e-5."""
    first, second = losses(one), losses(other)
    assert first.keys() == second.keys()
    assert len(first) == trainings
    for name in first:
        assert first[name].shape == second[name].shape
        np.testing.assert_allclose(second[name], first[name], rtol=1e-5, atol=1e-6)


def weights(results: Path) -> Path:
    """The weights file of the only training."""
    (path,) = results.glob("stages/pretrain/*/weights.safetensors")
    return path

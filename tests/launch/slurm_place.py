"""A results folder on the tests' cluster, commands that use it, and what a training there leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from slurm_cluster import Cluster

from avbench.launch import ledger

SMALL = ["data.train_clips=32", "data.test_clips=8", "train.batch_size=16", "train.workers=0", "train.threads=1"]
LONG = ["train.steps=40", "train.log_every=1", "train.checkpoint_seconds=600"]
PROFILE = {"partition": "main", "account": "research", "memory_gb": 2, "time": "'0:20:00'", "signal_seconds": 30}


class Place:
    """A results folder and a cluster profile, and commands that use them."""

    def __init__(self, cluster: Cluster, cache: Path, folder: Path) -> None:
        self.cluster, self.cache, self.folder = cluster, cache, folder
        self.results = folder / "results"
        self.profile()

    def profile(self, **changes: object) -> None:
        text = "".join(f"{key}: {value}\n" for key, value in {**PROFILE, **changes}.items())
        (self.folder / "here.yaml").write_text(text)

    def run(self, *words: str, launcher: str = "slurm", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        process = self.begin(*words, launcher=launcher, cwd=cwd)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def begin(self, *words: str, launcher: str = "slurm", cwd: Path | None = None) -> subprocess.Popen[str]:
        more = ["--launcher", "slurm", "--cluster", str(self.folder / "here.yaml")] if launcher == "slurm" else []
        if words[0] != "data":
            more += ["--results", str(self.results)]
        return subprocess.Popen(
            [sys.executable, "-m", "avbench", *words, *more],
            env={**os.environ, "AVBENCH_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )

    def pretrain(self, *settings: str, **options: str) -> subprocess.CompletedProcess[str]:
        return self.run("pretrain", "--method", "cav", "--set", *SMALL, *settings, **options)  # type: ignore[arg-type]

    def status(self) -> list[dict[str, object]]:
        done = self.run("status", "--format", "json", launcher="")
        states: list[dict[str, object]] = json.loads(done.stdout)
        return states

    def states(self) -> list[object]:
        return [found["state"] for found in self.status()]

    def wait(self, wanted: Callable[[], object], seconds: float = 240) -> None:
        if not self.cluster.wait(wanted, seconds):
            logs = [f"{path}:\n{path.read_text()[-3000:]}" for path in self.results.glob("jobs/slurm/*.out")]
            raise AssertionError("\n".join([self.cluster.run("squeue"), str(self.status()), *logs]))

    def finish(self, seconds: float = 240) -> None:
        """Waits until the queue is empty."""
        self.wait(lambda: not self.queue(), seconds)

    def queue(self) -> list[str]:
        """The states of the jobs that wait or run."""
        return self.cluster.run("squeue", "--noheader", "--format=%T").split()

    def rows(self) -> int:
        """Rows of the one training's metrics so far."""
        return sum(
            len(path.read_text().splitlines()) - 1 for path in self.results.glob("stages/pretrain/*/metrics.csv")
        )

    def steps(self) -> list[int]:
        """The steps that the one training's metrics tell of."""
        (path,) = self.results.glob("stages/pretrain/*/metrics.csv")
        return [int(line.split(",")[0]) for line in path.read_text().splitlines()[1:]]

    def number(self) -> str:
        """The number of the latest job."""
        return list(ledger.submissions(self.results))[-1].entries[0].job

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.results.glob("jobs/slurm/*.out")))

    def weights(self) -> dict[str, np.ndarray]:
        (path,) = self.results.glob("stages/pretrain/*/weights.safetensors")
        return {name: tensor.numpy() for name, tensor in load_file(path).items()}


@dataclass(frozen=True)
class Trained:
    """What a training left: weights, and the loss of each step."""

    weights: dict[str, np.ndarray]
    losses: list[float]


def training_processes(results: Path) -> list[int]:
    """The processes that run ``avbench pretrain`` for a results folder, not those that watch over them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "pretrain" in words and str(results) in words and "avbench" in words:
            found.append(int(path.parent.name))
    return sorted(found)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)

"""The Slurm cluster of the tests marked ``slurm``, and a training there that others are compared with."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from slurm_place import LONG, Place, Trained


@pytest.fixture(scope="session")
def slurm() -> Iterator[slurm_cluster.Cluster]:
    """A cluster that runs and that SLURM_CONF names; skips where none can be started."""
    reason = slurm_cluster.missing()
    if reason:
        pytest.skip(reason)
    with slurm_cluster.Cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("SLURM", "SBATCH", "SQUEUE")):
                patch.delenv(name)
        for name, value in cluster.env.items():
            patch.setenv(name, value)
        yield cluster


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(slurm: slurm_cluster.Cluster, cache: Path, tmp_path: Path) -> Place:
    return Place(slurm, cache, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(
    slurm: slurm_cluster.Cluster, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Trained]:
    """The long training where nothing happens to it, by the number of its processes."""
    found = {}
    for count in (1, 2):
        there = Place(slurm, cache, tmp_path_factory.mktemp(f"undisturbed{count}"))
        there.profile(processes_per_node=count)
        done = there.pretrain(*LONG, "method.negatives=gathered")
        assert done.returncode == 0, done.stderr
        there.finish()
        (path,) = there.results.glob("stages/pretrain/*/done.json")
        assert json.loads(path.read_text())["processes"] == count
        with (path.parent / "metrics.csv").open() as table:
            found[count] = Trained(there.weights(), [float(row["loss"]) for row in csv.DictReader(table)])
    return found

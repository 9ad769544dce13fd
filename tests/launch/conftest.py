"""The Slurm cluster of the tests marked ``slurm``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import slurm_cluster


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

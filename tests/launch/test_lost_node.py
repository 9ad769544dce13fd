"""A node that vanishes from a real Slurm with the job that it runs, and comes back."""

from __future__ import annotations

import pytest
from slurm_place import LONG, Place, Trained, same

pytestmark = pytest.mark.slurm


def test_a_job_whose_node_vanishes_goes_on_where_one_comes_back(place: Place, undisturbed: dict[int, Trained]) -> None:
    assert place.pretrain(*LONG, "method.negatives=gathered", "train.checkpoint_seconds=0.001").returncode == 0
    place.wait(lambda: place.rows() > 3)
    place.cluster.lose_node()
    kept = place.steps()
    assert 3 < len(kept) < 40
    place.wait(lambda: place.queue() == ["PENDING"])
    assert place.states() == ["queued"]
    place.cluster.find_node()
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[1].weights)
    assert place.steps() == list(range(1, 41))

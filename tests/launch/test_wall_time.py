"""Wall times that truly end: Slurm warns of one, or ends what could not heed it, and no step is lost or done twice."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest
from slurm_place import LONG, Place, Trained, same, training_processes

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
GATHERED = "method.negatives=gathered"


def begin(place: Place, *settings: str) -> int:
    """Submits the long training, has it stand still in the middle, and its time end in a minute or two."""
    began = time.monotonic()
    assert place.pretrain(*LONG, GATHERED, *settings).returncode == 0
    place.wait(lambda: place.rows() > 3)
    (process,) = training_processes(place.results)
    os.kill(process, signal.SIGSTOP)
    minutes = int(time.monotonic() - began) // 60 + 2  # Slurm counts whole ones
    place.cluster.run("scontrol", "update", f"JobId={place.number()}", f"TimeLimit={minutes}")
    return process


def test_a_job_that_slurm_warns_goes_on_in_its_next_wall_time(place: Place, undisturbed: dict[int, Trained]) -> None:
    process = begin(place)
    place.wait(lambda: "Caught signal SIGUSR2" in place.log())
    os.kill(process, signal.SIGCONT)
    place.wait(lambda: "training stopped by SIGTERM" in place.log())
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[1].weights)
    assert place.steps() == list(range(1, 41))


def test_a_job_that_cannot_save_is_ended_and_resumes_from_its_last_checkpoint(
    place: Place, undisturbed: dict[int, Trained]
) -> None:
    process = begin(place, "train.checkpoint_seconds=0.001")
    over = threading.Event()

    def hold() -> None:  # its step takes longer than Slurm waits, whatever tells it to continue
        with contextlib.suppress(ProcessLookupError):
            while not over.wait(0.01):
                os.kill(process, signal.SIGSTOP)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        place.finish()
    finally:
        over.set()
        holder.join()
    (found,) = place.status()
    assert found["state"] == "failed"
    assert "timeout" in str(found["detail"]).lower()
    kept = place.steps()
    assert 3 < len(kept) < 40
    again = place.pretrain(*LONG, GATHERED, "train.checkpoint_seconds=0.001")
    assert "1 jobs submitted" in again.stdout
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[1].weights)
    assert place.steps() == list(range(1, 41))

"""A training step that is given clips by the loader: how many clips a second it makes, and how long it waits."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from avbench.bench.loader import CLIPS, write_clips
from avbench.config import InputConfig
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.feed.batch import moved
from avbench.data.feed.loader import Feed
from avbench.training.device import torch_threads
from avbench.training.session import Session


@dataclass(frozen=True)
class Fed:
    """What it came to."""

    clips_per_s: float
    wait_share: float  # of the time, waiting for clips
    readers: int


def feed(session: Session, inputs: InputConfig, steps: int, *, warm_up: int, threads: int = 0) -> Fed:
    """Makes steps on prepared clips of ten seconds, which stay in the page cache: a disk is not measured.

    Args:
        session: Makes the steps, at the size of its batch.
        inputs: Of its method.
        steps: That count.
        warm_up: Steps before them, in which the readers start.
        threads: Of torch on a CPU; 0: those that the readers leave.
    """
    batch = session.config.batch_size
    with tempfile.TemporaryDirectory() as name:
        write_clips(Path(name), inputs)
        clips = PreparedClips.open(Path(name))
        # Read from the files in each step, as a set that is larger than the memory is.
        reader = Feed(clips, inputs, mode="train", noise=True, memory_limit=0, device=session.device)
        order = np.arange(batch * (warm_up + steps)) % CLIPS
        with torch_threads(reader.workers, threads):
            waited, begin = 0.0, 0.0
            batches = moved(reader.batches(order, batch), session.device)
            for number in range(warm_up + steps):
                if number == warm_up:
                    _wait(session.device)
                    waited, begin = 0.0, time.perf_counter()
                asked = time.perf_counter()
                found = next(batches)
                waited += time.perf_counter() - asked
                session.step(found, 0.0)
            _wait(session.device)
            seconds = time.perf_counter() - begin
            batches.close()
    return Fed(batch * steps / seconds, waited / seconds, reader.workers)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()

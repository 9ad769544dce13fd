"""Batches in a given order, read ahead by worker processes; the content never depends on how many there are."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.config import InputConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed import memory
from avbench.data.feed.augment import Augment
from avbench.data.feed.batch import Batch
from avbench.data.feed.dataset import AudioVisualDataset, Mode
from avbench.errors import AvbenchError, InputError
from avbench.processes import has_companions, leave_stops_to_parent, own_cores

_AHEAD = 2  # batches kept ready per worker
Chunk = tuple[NDArray[Any], NDArray[Any]]  # positions of a batch's clips, and how often each came before
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


class Batched(Protocol[B_co]):
    """Clips that are given out in batches of one kind."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[Any], repeats: NDArray[Any]) -> B_co:
        """Returns the clips at ``indices``; ``repeats``: how often each came before."""
        ...


def worker_count(workers: int) -> int:
    """Returns how many processes read clips: ``workers``, or for -1 one per core that the training leaves free.

    The training process counts as one core; with a single core it reads the clips itself. Of several processes of this
    machine that train one model, each has its share of the cores.
    """
    if workers >= 0:
        return workers
    return max(0, own_cores() - 1)


def batches(
    dataset: Batched[B],
    order: NDArray[np.integer],
    batch_size: int,
    *,
    workers: int = 0,
    start: int = 0,
    drop_last: bool = False,
    readers: Readers | None = None,
    before: NDArray[np.integer] | None = None,
) -> Iterator[B]:
    """Yields the clips of ``order`` in batches.

    A dataset held in memory (:func:`avbench.data.feed.memory.hold`) is served by one thread instead of processes.

    Args:
        dataset: Its epoch must not change while batches are drawn.
        order: Positions in the dataset. A clip that comes again is drawn anew: another frame, other noise.
        batch_size: Clips per batch.
        workers: Processes that read ahead, with one thread each; 0: this process, on demand; -1: see
            :func:`worker_count`.
        start: First batch to yield, to resume in the middle of an epoch.
        drop_last: Leave out a last batch that is not full.
        readers: Processes of this dataset that are kept for further calls; None: own ones, which end with the batches.
        before: How often each clip of ``order`` came before, where that is part of an epoch; None: as it stands there.

    Raises:
        InputError: ``batch_size`` is below 1.
        RunError: A clip cannot be read; the message names it.
    """
    if batch_size < 1:
        raise InputError(f"batch size: found {batch_size}, valid: 1 or more.")
    end = len(order) - len(order) % batch_size if drop_last else len(order)
    before = repeats(order) if before is None else before
    spans = [slice(first, min(first + batch_size, end)) for first in range(start * batch_size, end, batch_size)]
    chunks = [(order[span], before[span]) for span in spans]
    if isinstance(getattr(dataset, "source", None), memory.Memory):
        return _threaded(dataset, chunks) if workers else itertools.starmap(dataset.batch, chunks)
    if not chunks or not worker_count(workers):
        return itertools.starmap(dataset.batch, chunks)
    return (readers or Readers(dataset, workers)).batches(chunks, most=start + len(chunks))


def repeats(order: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns how often the clip at each place of ``order`` stands before it: (n,), zeros where none comes twice."""
    sort = np.argsort(order, kind="stable")
    ranked = order[sort]
    new = np.ones(len(order), dtype=bool)
    new[1:] = ranked[1:] != ranked[:-1]
    place = np.arange(len(order))
    counts = np.empty(len(order), dtype=np.int64)
    counts[sort] = place - np.maximum.accumulate(np.where(new, place, 0))
    return counts


class Feed:
    """Batches of a set of clips for as many epochs as wanted.

    A training set that decodes to less than ``memory_limit`` bytes is decoded once, here, and then served from memory
    by a thread.

    Args:
        clips: The clips.
        config: Sizes and normalisation.
        mode: See :class:`~avbench.data.feed.dataset.AudioVisualDataset`; ``noise``, ``augment`` and ``pairing`` too.
        noise: Noise and roll in training.
        seed: Seed of all draws.
        augment: Mixing, masks and targets of fine-tuning.
        pairing: Whose frames each clip is seen with.
        workers: See :func:`batches`.
        memory_limit: Bytes; 0: always read from the files.
        device: Where the batches go; for ``cuda`` they are pinned, and their frames stay bytes until they are there.

    Attributes:
        dataset: The items.
        workers: Processes that will read clips beside this one: what the model's threads must leave free.
    """

    def __init__(
        self,
        clips: Clips,
        config: InputConfig,
        *,
        mode: Mode,
        noise: bool = False,
        seed: int = 0,
        augment: Augment | None = None,
        pairing: NDArray[np.int64] | None = None,
        workers: int = -1,
        memory_limit: int = memory.LIMIT,
        device: str = "cpu",
    ) -> None:
        self.dataset = AudioVisualDataset(
            clips, config, mode=mode, noise=noise, seed=seed, augment=augment, pairing=pairing, raw=device == "cuda"
        )
        self._wanted = workers
        training = mode == "train" or augment is not None
        held = training and memory.hold(self.dataset, workers=own_cores() if workers else 0, limit=memory_limit)
        self.workers = 0 if held else worker_count(workers)
        self._readers = Readers(self.dataset, workers, device)

    def batches(
        self,
        order: NDArray[np.integer],
        batch_size: int,
        *,
        epoch: int = 0,
        skip: int = 0,
        drop_last: bool = False,
        before: NDArray[np.integer] | None = None,
    ) -> Iterator[Batch]:
        """Yields the clips of ``order`` with the draws of ``epoch``, from batch ``skip`` on; see :func:`batches`.

        Args:
            order: Positions of clips.
            batch_size: Clips of a batch.
            epoch: Whose draws are used.
            skip: Batches left out at the start.
            drop_last: Whether a last batch that is not full is left out.
            before: See :func:`batches`.
        """
        self.dataset.set_epoch(epoch)
        return batches(
            self.dataset,
            order,
            batch_size,
            workers=self._wanted,
            start=skip,
            drop_last=drop_last,
            readers=self._readers,
            before=before,
        )


def _ignore_interrupts(_: int) -> None:
    leave_stops_to_parent()


class _Chunks(torch.utils.data.Dataset[Any]):
    """Whole batches as the items of torch's loader; errors travel as values, to keep their one-line message."""

    def __init__(self, dataset: Batched[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, asked: tuple[int, Chunk]) -> Any:
        epoch, chunk = asked
        if hasattr(self._dataset, "epoch"):
            self._dataset.epoch = epoch  # of this process's copy, which may be of an earlier epoch
        try:
            return self._dataset.batch(*chunk)
        except AvbenchError as error:
            return error


class _Asked(torch.utils.data.Sampler[Any]):
    """What is to be read in this epoch."""

    def __init__(self) -> None:
        self.chunks: list[tuple[int, Chunk]] = []

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[tuple[int, Chunk]]:
        return iter(self.chunks)


class Readers:
    """Processes that read batches ahead: they start with the first batches and end with this object.

    Args:
        dataset: What they read.
        workers: How many; -1: see :func:`worker_count`.
        device: Where the batches go.
    """

    def __init__(self, dataset: Batched[Any], workers: int, device: str = "cpu") -> None:
        self._dataset, self._count, self._gpu = dataset, worker_count(workers), device == "cuda"
        self._asked = _Asked()
        self._loader: torch.utils.data.DataLoader[Any] | None = None

    def batches(self, chunks: list[Chunk], *, most: int) -> Iterator[Any]:
        """Yields the batches of some chunks, of one call at a time; what an earlier call left unread is dropped.

        Args:
            chunks: What to read, with the draws of the epoch that the dataset is at when the first batch is asked for.
            most: Chunks of a whole epoch: no more processes are started.

        Raises:
            RunError: A clip cannot be read; the message names it.
        """
        epoch = getattr(self._dataset, "epoch", 0)
        self._asked.chunks = [(epoch, chunk) for chunk in chunks]
        if self._loader is None:
            self._loader = torch.utils.data.DataLoader(
                _Chunks(self._dataset),
                batch_size=None,
                sampler=self._asked,
                num_workers=min(self._count, most),
                prefetch_factor=_AHEAD,
                worker_init_fn=_ignore_interrupts,
                persistent_workers=True,
                pin_memory=self._gpu,
                # NCCL's threads do not outlive a fork; without them it is cheaper, as what is read is then shared.
                multiprocessing_context="forkserver" if self._gpu and has_companions() else None,
            )
        for result in self._loader:
            if isinstance(result, AvbenchError):
                raise result
            yield result


def _threaded(dataset: Batched[B], chunks: list[Chunk]) -> Iterator[B]:
    """Makes batches one ahead in a thread: copying and noise release the interpreter."""
    ready: queue.Queue[B | BaseException] = queue.Queue(maxsize=_AHEAD)
    stop = threading.Event()

    def put(result: B | BaseException) -> bool:
        while not stop.is_set():
            try:
                ready.put(result, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for chunk in chunks:
                if not put(dataset.batch(*chunk)):
                    return
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="avbench-batches", daemon=True)
    thread.start()
    try:
        for _ in chunks:
            result = ready.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()
        thread.join()

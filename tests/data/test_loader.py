from __future__ import annotations

import multiprocessing.process
from pathlib import Path

import clip_files
import numpy as np
import pytest
import torch

from avbench.config import InputConfig
from avbench.data.corpus.authors import AuthorsClips
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.feed import loader, memory
from avbench.data.feed.batch import Batch, moved
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.loader import Feed, batches, worker_count
from avbench.errors import InputError, RunError

CONFIG = InputConfig(target_length=112, n_mels=32, image_size=48)
ORDER = np.array([5, 0, 3, 3, 1])


@pytest.fixture
def clips(tmp_path: Path) -> PreparedClips:
    return PreparedClips.open(clip_files.prepared(tmp_path / "p"))


def assert_equal(ours: list[Batch], others: list[Batch]) -> None:
    assert len(ours) == len(others)
    for a, b in zip(ours, others, strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.audio, b.audio)
        assert torch.equal(a.visual, b.visual)


def test_order_and_last_batch(clips: PreparedClips) -> None:
    dataset = AudioVisualDataset(clips, CONFIG, mode="eval")
    found = [batch.index.tolist() for batch in batches(dataset, ORDER, 2)]
    assert found == [[5, 0], [3, 3], [1]]
    found = [batch.index.tolist() for batch in batches(dataset, ORDER, 2, drop_last=True)]
    assert found == [[5, 0], [3, 3]]
    assert list(batches(dataset, ORDER[:1], 2, drop_last=True)) == []
    with pytest.raises(InputError):
        batches(dataset, ORDER, 0)


@pytest.mark.parametrize("mode", ["train", "eval", "all_frames"])
def test_workers_change_nothing(clips: PreparedClips, mode: str) -> None:
    def epoch(workers: int) -> list[Batch]:
        feed = Feed(clips, CONFIG, mode=mode, noise=True, workers=workers, memory_limit=0)  # type: ignore[arg-type]
        assert feed.workers == workers
        return list(feed.batches(ORDER, 2, epoch=2))

    assert_equal(epoch(2), epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("segment_length", [0, 48])
def test_memory_changes_nothing(clips: PreparedClips, workers: int, segment_length: int) -> None:
    config = InputConfig(target_length=112, n_mels=32, image_size=48, segment_length=segment_length)
    held = Feed(clips, config, mode="train", noise=True, workers=workers)
    plain = Feed(clips, config, mode="train", noise=True, workers=0, memory_limit=0)
    assert isinstance(held.dataset.source, memory.Memory)
    assert held.workers == 0
    for epoch in range(3):
        assert_equal(list(held.batches(ORDER, 2, epoch=epoch)), list(plain.batches(ORDER, 2, epoch=epoch)))


def test_processes_fill_the_memory(clips: PreparedClips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_FEW", 0)
    monkeypatch.setattr(memory, "_TASK", 2)
    dataset, plain = (AudioVisualDataset(clips, CONFIG, mode="train") for _ in range(2))
    assert memory.hold(dataset, workers=2)
    assert_equal([dataset.batch(ORDER)], [plain.batch(ORDER)])


def test_large_sets_are_not_held(clips: PreparedClips) -> None:
    dataset = AudioVisualDataset(clips, CONFIG, mode="train")
    assert not memory.hold(dataset, limit=memory.decoded_bytes(dataset))
    assert memory.decoded_bytes(dataset) == 6 * 112 * 32 * 4 + 17 * 48 * 48 * 3
    assert memory.hold(dataset, limit=memory.decoded_bytes(dataset) + 1)


@pytest.mark.filterwarnings("ignore:.*pin_memory.*")  # a CPU has nothing to pin for
@pytest.mark.parametrize(("companions", "started_by"), [(False, None), (True, "forkserver")])
def test_readers_for_a_gpu_give_the_same_and_start_beside_nccl_without_a_fork(
    clips: PreparedClips, monkeypatch: pytest.MonkeyPatch, companions: bool, started_by: str | None
) -> None:
    # Not by the environment: a fork server that starts here would hand it to all children of later tests.
    monkeypatch.setattr(loader, "has_companions", lambda: companions)
    feed = Feed(clips, CONFIG, mode="train", noise=True, workers=1, memory_limit=0, device="cuda")
    plain = Feed(clips, CONFIG, mode="train", noise=True, workers=0, memory_limit=0)
    for epoch in (0, 3):
        sent = list(feed.batches(ORDER, 2, epoch=epoch))
        assert all(batch.visual.dtype == torch.uint8 for batch in sent)
        assert_equal(list(moved(sent, "cpu")), list(plain.batches(ORDER, 2, epoch=epoch)))
    context = feed._readers._loader.multiprocessing_context  # type: ignore[union-attr]
    assert (None if context is None else context.get_start_method()) == started_by


def test_the_same_processes_read_all_epochs(clips: PreparedClips, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    start = multiprocessing.process.BaseProcess.start
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", lambda self: (started.append(1), start(self))[1])
    feed = Feed(clips, CONFIG, mode="train", noise=True, workers=2, memory_limit=0)
    plain = Feed(clips, CONFIG, mode="train", noise=True, workers=0, memory_limit=0)
    for epoch in (0, 3, 1):
        assert_equal(list(feed.batches(ORDER, 2, epoch=epoch)), list(plain.batches(ORDER, 2, epoch=epoch)))
    left = feed.batches(ORDER, 2, epoch=4)
    next(left)  # and then left in the middle
    assert_equal(list(feed.batches(ORDER[::-1], 2, epoch=5)), list(plain.batches(ORDER[::-1], 2, epoch=5)))
    assert len(started) == 2


@pytest.mark.parametrize("limit", [0, memory.LIMIT])
def test_going_on_in_the_middle(clips: PreparedClips, limit: int) -> None:
    feed = Feed(clips, CONFIG, mode="train", noise=True, workers=1, memory_limit=limit)
    whole = list(feed.batches(ORDER, 2, epoch=1))
    assert_equal(list(feed.batches(ORDER, 2, epoch=1, skip=2)), whole[2:])


def test_leaving_an_epoch_early(clips: PreparedClips) -> None:
    feed = Feed(clips, CONFIG, mode="train", workers=1)
    iterator = feed.batches(np.tile(ORDER, 20), 2)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert len(list(feed.batches(ORDER, 2))) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_workers_stay_one_line(tmp_path: Path, workers: int) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    (tmp_path / "audio" / "clip1.wav").unlink()
    dataset = AudioVisualDataset(clips, CONFIG, mode="eval")
    with pytest.raises(RunError, match="clip 'clip1'") as caught:
        list(batches(dataset, np.arange(3), 1, workers=workers))
    assert "\n" not in str(caught.value)


def test_errors_while_filling_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_FEW", 0)
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    (tmp_path / "audio" / "clip1.wav").unlink()
    for workers in (0, 2):
        with pytest.raises(RunError, match="clip 'clip1'"):
            memory.hold(AudioVisualDataset(clips, CONFIG, mode="train"), workers=workers)


def test_worker_count() -> None:
    assert worker_count(3) == 3
    assert worker_count(-1) >= 0

"""A batch's way to where it is used: the same bits whoever normalises its frames, and results in their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from labelled_clips import INPUT, LabelledClips

from avbench.config import InputConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed.batch import Batch, arrays, moved
from avbench.data.feed.dataset import AudioVisualDataset, Mode
from avbench.data.media.images import normalise_bytes, to_tensor

CLIPS = cast(Clips, LabelledClips(6))


def test_every_byte_is_normalised_alike_on_any_device() -> None:
    values = np.arange(256, dtype=np.uint8).repeat(3 * 4).reshape(4, 16, 16, 3)
    frames = np.random.default_rng(0).permuted(values, axis=None)
    other = InputConfig(image_size=16, image_mean=(0.5, 0.1, 0.0), image_std=(0.3, 1.0, 0.07))
    for config in (InputConfig(image_size=16), other):
        wanted = torch.stack([to_tensor(frame, config) for frame in frames])
        found = normalise_bytes(torch.from_numpy(frames), config)
        assert found.is_contiguous()
        assert torch.equal(found, wanted)
        several = normalise_bytes(torch.from_numpy(frames).view(2, 2, 16, 16, 3), config)
        assert torch.equal(several, wanted.view(2, 2, 3, 16, 16))


@pytest.mark.parametrize("mode", ["train", "eval", "all_frames"])
def test_frames_that_travel_as_bytes_arrive_as_those_that_do_not(mode: Mode) -> None:
    sent, plain = (AudioVisualDataset(CLIPS, INPUT, mode=mode, noise=True, raw=raw) for raw in (True, False))
    raw, wanted = sent.batch([3, 0, 5]), plain.batch([3, 0, 5])
    assert raw.visual.dtype == torch.uint8
    assert raw.visual.nbytes * 4 == wanted.visual.nbytes
    (found,) = moved([raw], "cpu")
    assert found.raw is None
    for name in ("index", "audio", "visual"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name


def test_what_is_no_batch_of_tensors_is_passed_on() -> None:
    things: list[Any] = [object(), (torch.ones(2),)]
    assert list(moved(things, "cpu")) == things


def test_the_reader_ends_with_the_batches() -> None:
    ended = []

    def read() -> Iterator[Batch]:
        try:
            for i in range(9):
                yield Batch(torch.tensor([i]), torch.zeros(1), torch.zeros(1))
        finally:
            ended.append(True)

    batches = moved(read(), "cpu")
    assert next(batches).index.tolist() == [0]
    batches.close()
    assert ended == [True]


def test_results_on_a_cpu_are_not_put_off() -> None:
    asked: list[int] = []

    def compute() -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        for i in range(3):
            asked.append(i)
            yield i, {"a": torch.full((2,), i, dtype=torch.bfloat16)}

    for key, found in arrays(compute()):
        assert asked[-1] == key
        assert found["a"].dtype == np.float32
        assert found["a"].tolist() == [key, key]
    assert asked == [0, 1, 2]

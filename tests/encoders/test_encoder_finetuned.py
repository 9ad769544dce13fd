"""An encoder that can be trained gets the recipe, head, modes and missing-modality test of methods."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from avbench.data.feed.augment import Augment
from avbench.data.feed.heard import HeardClips
from avbench.data.feed.heard_training import HeardFeed
from avbench.data.wants import Wants

Judge = Callable[..., tuple[int, list[dict[str, Any]]]]
TRAINED = """
class Mine(avbench.Encoder, torch.nn.Module):
    trainable = True
    frames = 2
    image = (8, 8)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hear = torch.nn.Linear(2, 6)
        self.see = torch.nn.Sequential(torch.nn.Linear(192, 6), torch.nn.BatchNorm1d(6))

    def audio(self, waves, rate):
        return self.hear(torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves]))

    def visual(self, frames, times):
        pixels = torch.stack(frames).float().flatten(2) / 255
        return self.see(pixels.flatten(0, 1)).view(len(frames), 2, 6)
"""
NO_MODULE = """
class Mine(avbench.Encoder):
    trainable = True

    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])
"""
SHORT = ("task.steps=6", "task.batch_size=4", "task.modes=[all]", "task.average_from=0", "task.optimizer=adamw")


def test_all_modes_and_a_missing_modality(judge: Judge) -> None:
    words = ("--set", *SHORT, "task.lr=0.05")
    status, (record,) = judge(TRAINED, *words, task="classification")
    assert status == 0
    assert {"joint/top1", "audio/top1", "visual/top1"} <= record["metrics"].keys()
    assert {"missing_audio/top1", "missing_visual/top1", "ensemble/top1"} <= record["metrics"].keys()
    assert record["config"]["task"]["freq_mask"] == 0
    assert record["config"]["task"]["noise"] is False
    assert len(record["stages"]["finetune"]) == 3
    status, again = judge(TRAINED, *words, "task.resamples=10", task="classification")
    assert (status, len(again)) == (0, 1)
    assert again[0]["stages"]["finetune"] == record["stages"]["finetune"]  # read again, not trained again
    assert again[0]["metrics"] == record["metrics"]


@pytest.mark.parametrize(
    ("source", "words", "said"),
    [
        (TRAINED.replace("trainable = True", "trainable = False"), (), "it says no trainable = True"),
        (TRAINED, ("task.freq_mask=3",), "task.freq_mask: not used with an encoder, which hears waveforms, valid: 0"),
        (TRAINED, ("task.weights=x.safetensors",), "task.weights: "),
        (NO_MODULE, (), "valid for a torch.nn.Module"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(
    judge: Judge, capsys: pytest.CaptureFixture, source: str, words: tuple[str, ...], said: str
) -> None:
    status, records = judge(source, "--set", *SHORT, *words, task="classification")
    assert (status, records) == (2, [])
    assert said in capsys.readouterr().err


def test_an_encoder_without_gradient_is_told_of_the_frozen_probe(judge: Judge, capsys: pytest.CaptureFixture) -> None:
    source = TRAINED.replace("for w in waves]))", "for w in waves])).detach()")
    status, records = judge(source, "--set", *SHORT, "task.modes=[audioonly]", task="classification")
    assert (status, records) == (1, [])
    assert "audio: found no gradient, valid: one, to fine-tune; or --set task.freeze=true" in capsys.readouterr().err
    status, records = judge(
        source, "--set", *SHORT, "task.modes=[audioonly]", "task.freeze=true", task="classification"
    )
    assert status == 0
    assert "audio/top1" in records[0]["metrics"]


class _Tones:
    """Two clips: a constant and its double; black and white."""

    ids = ("a", "b")

    def __len__(self) -> int:
        return 2

    def waveform(self, i: int) -> tuple[np.ndarray, int]:
        return np.sin(np.arange(1000 + 100 * i, dtype=np.float32)) * (i + 1), 1000

    def frame(self, i: int, k: int) -> np.ndarray:
        return np.full((4, 4, 3), 200 * i, np.uint8)

    def duration(self, i: int) -> float:
        return 1.0


class _Labels:
    classes = ("x", "y")

    def multi_hot(self, rows: Any = None, dtype: Any = np.float32) -> np.ndarray:
        return np.eye(2, dtype=dtype)[rows]


class _Reader(_Tones):
    """Tells by its sound which process read it."""

    def waveform(self, i: int) -> tuple[np.ndarray, int]:
        return np.full(2000, os.getpid(), np.float32), 1000


def test_the_same_processes_read_all_epochs_and_draw_anew_in_each() -> None:
    wants = Wants(modalities=("audio", "visual"), sample_rate=1000, channels=1, seconds=2.0, frames=1, image=None)
    reader: Any = _Reader()
    feed = HeardFeed(HeardClips(reader, wants), workers=1)
    read = {float(next(feed.batches(np.arange(2), 2, epoch=epoch)).audio.items[0][0]) for epoch in range(3)}
    assert len(read) == 1
    assert read != {float(np.float32(os.getpid()))}
    clips: Any = _Tones()
    mixes = Augment(labels=_Labels(), mixup=1.0)
    ahead, here = (HeardFeed(HeardClips(clips, wants), augment=mixes, seed=3, workers=n) for n in (1, 0))
    for epoch in (5, 6, 5):
        targets = [next(each.batches(np.arange(2), 2, epoch=epoch)).target for each in (ahead, here)]
        assert torch.equal(*targets)


def test_sounds_pictures_and_targets_are_mixed_by_one_weight() -> None:
    wants = Wants(modalities=("audio", "visual"), sample_rate=1000, channels=1, seconds=2.0, frames=1, image=None)
    clips: Any = _Tones()
    plain = next(HeardFeed(HeardClips(clips, wants), workers=0).batches(np.arange(2), 2))
    mixed = HeardFeed(HeardClips(clips, wants), augment=Augment(labels=_Labels(), mixup=1.0), seed=3, workers=0)
    batch = next(mixed.batches(np.arange(2), 2, epoch=5))
    again = next(mixed.batches(np.arange(2), 2, epoch=5))
    other = next(mixed.batches(np.arange(2), 2, epoch=6))
    assert plain.target is None
    assert torch.equal(plain.visual.items[1], torch.full((1, 4, 4, 3), 200, dtype=torch.uint8))
    for i in range(2):
        partner_weight = float(batch.target[i, 1 - i])  # 0 where it was mixed with itself
        own = 200 * i * (1 - partner_weight) + 200 * (1 - i) * partner_weight
        assert abs(float(batch.visual.items[i].float().mean()) - own) <= 0.5
        first, second = (each - each.mean() for each in (plain.audio.items[i], plain.audio.items[1 - i]))
        expected = (1 - partner_weight) * first
        n = min(len(first), len(second))
        expected[:n] += partner_weight * second[:n]
        assert torch.allclose(batch.audio.items[i], expected, atol=1e-5)
        assert torch.equal(batch.audio.items[i], again.audio.items[i])
    assert not torch.equal(batch.target, other.target)

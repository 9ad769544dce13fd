from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from labelled_clips import CLASSES, INPUT, RATE, LabelledClips

from avbench.data.feed import memory
from avbench.data.feed.augment import Augment, Mix, mix_waveforms
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.loader import batches, repeats
from avbench.data.feed.spectrogram import fit_rows, log_mel
from avbench.data.media.images import to_tensor
from avbench.errors import InputError
from avbench.tasks.labels import read_labels

CLIPS = LabelledClips(7, several=True)
LABELS = read_labels(CLIPS, {name: name for name in CLASSES})
FILL = -INPUT.audio_mean / INPUT.audio_std  # what raw zeros become


def made(clips: LabelledClips = CLIPS, seed: int = 0, **options: float) -> AudioVisualDataset:
    noise = bool(options.pop("noise", False))
    augment = Augment(labels=LABELS, **options)  # type: ignore[arg-type]
    return AudioVisualDataset(clips, INPUT, mode="train", noise=noise, seed=seed, augment=augment)


def rows(samples: np.ndarray) -> torch.Tensor:
    return fit_rows(log_mel(torch.from_numpy(samples), RATE, INPUT), INPUT)


def test_targets_follow_the_reference() -> None:
    augment = Augment(labels=LABELS, smoothing=0.3)
    base, full = 0.3 / 3, 0.7
    np.testing.assert_allclose(augment.target(0), [full, base, base], rtol=1e-6)  # set, not added
    np.testing.assert_allclose(augment.target(1), [full, full, base], rtol=1e-6)
    mixed = augment.target(0, Mix(1, 0.25, 0.0))
    np.testing.assert_allclose(mixed, [base + full, base + 0.75 * full, base], rtol=1e-6)
    np.testing.assert_array_equal(Augment(labels=LABELS).target(4), [1, 1, 0])


def test_mixing_draws() -> None:
    augment = Augment(labels=LABELS, mixup=0.4)
    draws = [augment.mix(7, 1, epoch, i) for epoch, i in itertools.product(range(40), range(50))]
    mixed = [draw for draw in draws if draw is not None]
    assert abs(len(mixed) / len(draws) - 0.4) < 0.04
    weights = np.array([draw.weight for draw in mixed])
    assert abs(weights.mean() - 0.5) < 0.02
    assert abs(weights.var() - 1 / 84) < 0.002  # of Beta(10, 10)
    assert set(np.bincount([draw.partner for draw in mixed], minlength=7) // 70) <= {1, 2}
    assert augment.mix(7, 1, 3, 4) == augment.mix(7, 1, 3, 4)
    assert Augment(labels=LABELS).mix(7, 1, 0, 0) is None


def test_masks_stay_inside_and_are_as_wide_as_asked() -> None:
    augment = Augment(labels=LABELS, freq_mask=6, time_mask=50)
    spans = [augment.masks(32, 16, 0, i) for i in range(500)]
    bins, times = zip(*spans, strict=True)
    assert {span.end - span.start for span in bins} == set(range(6))
    assert all(0 <= span.start <= span.end <= 16 for span in bins)
    assert all(0 <= span.start <= span.end <= 32 for span in times)  # a mask may be wanted wider than the spectrogram
    assert max(span.end for span in bins) == 15  # both ends are cut to integers: the last bin is never masked
    assert len({span.start for span in bins}) > 10


def test_waveforms_are_mixed_without_their_means() -> None:
    draw = np.random.default_rng(0)
    one, short, long = (draw.standard_normal(n).astype(np.float32) + 3 for n in (50, 30, 80))
    padded = np.concatenate([short - short.mean(), np.zeros(20)])
    np.testing.assert_allclose(mix_waveforms(one, short, 0.7), 0.7 * (one - one.mean()) + 0.3 * padded, atol=1e-5)
    cut = (long - long.mean())[:50]
    np.testing.assert_allclose(mix_waveforms(one, long, 0.7), 0.7 * (one - one.mean()) + 0.3 * cut, atol=1e-5)


def test_mixed_item_is_the_mixture_of_two_clips() -> None:
    dataset = made(mixup=1.0, smoothing=0.1)
    for i in range(len(CLIPS)):
        mix = dataset.augment.mix(len(CLIPS), 0, 0, i)  # type: ignore[union-attr]
        assert mix is not None
        sound = mix_waveforms(CLIPS.waveform(i)[0], CLIPS.waveform(mix.partner)[0], mix.weight)
        item = dataset[i]
        torch.testing.assert_close(item.audio, rows(sound))
        own = to_tensor(CLIPS.frame(i, dataset.frames(i)[0][0]), INPUT)
        other = to_tensor(CLIPS.frame(mix.partner, int(mix.frame * CLIPS.n_frames(mix.partner))), INPUT)
        torch.testing.assert_close(item.visual, mix.weight * own + (1 - mix.weight) * other, atol=1e-5, rtol=1e-5)
        assert item.target is not None
        np.testing.assert_array_equal(item.target, dataset.augment.target(i, mix))  # type: ignore[union-attr]


def test_masks_hide_cells_with_raw_zeros_before_the_noise() -> None:
    plain, masked = made(), made(freq_mask=6, time_mask=10)
    hidden = set()
    for i in range(len(CLIPS)):
        bins, times = masked.augment.masks(32, 16, 0, 0, i)  # type: ignore[union-attr]
        wanted = plain[i].audio.clone()
        wanted[:, bins.start : bins.end] = FILL
        wanted[times.start : times.end] = FILL
        assert torch.equal(masked[i].audio, wanted)
        hidden.add((bins, times))
    assert len(hidden) > 3
    noisy = made(freq_mask=6, time_mask=10, noise=True)[0].audio
    shifts = [
        added
        for k in range(32)
        if (added := noisy.roll(-k, 0) - masked[0].audio).min() >= -1e-6 and added.max() < 0.1 + 1e-6
    ]
    assert len(shifts) == 1


def test_draws_depend_on_seed_epoch_and_clip_alone() -> None:
    first, again, other = (made(mixup=0.5, freq_mask=6, time_mask=9, noise=True, seed=seed) for seed in (3, 3, 4))
    order = np.array([5, 2, 2, 0])
    one = first.batch(order)
    assert all(torch.equal(a, b) for a, b in zip(one_tensors(one), one_tensors(again.batch(order)), strict=True))
    assert not torch.equal(one.audio, other.batch(order).audio)
    again.set_epoch(1)
    assert not torch.equal(one.audio, again.batch(order).audio)
    assert torch.equal(one.audio[1], one.audio[2])


def one_tensors(batch: object) -> list[torch.Tensor]:
    return [getattr(batch, name) for name in ("index", "audio", "visual", "target")]


def test_a_clip_that_comes_again_is_drawn_anew() -> None:
    assert repeats(np.array([4, 1, 4, 4, 1])).tolist() == [0, 0, 1, 2, 1]
    assert repeats(np.array([], dtype=np.int64)).tolist() == []
    dataset = made(noise=True)
    (batch,) = batches(dataset, np.array([3, 3, 0]), 3)
    assert torch.equal(batch.audio[0], dataset[3].audio)
    assert not torch.equal(batch.audio[0], batch.audio[1])


def test_held_in_memory_the_items_are_the_same() -> None:
    files, held = (made(mixup=0.6, freq_mask=6, time_mask=9, noise=True, smoothing=0.1) for _ in range(2))
    assert memory.hold(held)
    for epoch in range(2):
        files.set_epoch(epoch)
        held.set_epoch(epoch)
        order = np.arange(len(CLIPS))
        pairs = zip(one_tensors(files.batch(order)), one_tensors(held.batch(order)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_sounds_count_where_they_will_be_held() -> None:
    assert memory.decoded_bytes(made(mixup=0.5)) > memory.decoded_bytes(made()) + 7 * 290 * 4


def test_all_frames_with_labels() -> None:
    augment = Augment(labels=LABELS, mixup=1.0)
    batch = AudioVisualDataset(CLIPS, INPUT, mode="all_frames", augment=augment).batch([0, 1])
    assert batch.visual.shape == (2, 3, 3, 16, 16)
    assert batch.target is not None
    assert batch.target.shape == (2, 3)


def test_pairing_shows_other_clips_frames() -> None:
    pairing = np.array([2, 0, 1, 3, 4, 5, 6])
    paired = AudioVisualDataset(CLIPS, INPUT, mode="eval", pairing=pairing)
    plain = AudioVisualDataset(CLIPS, INPUT, mode="eval")
    for i in range(3):
        assert torch.equal(paired[i].visual, plain[int(pairing[i])].visual)
        assert torch.equal(paired[i].audio, plain[i].audio)


@pytest.mark.parametrize("pairing", [np.arange(6), np.array([0, 1, 2, 3, 4, 5, 7]), np.array([0, 1, 2, 3, 4, 5, -1])])
def test_pairing_of_other_clips_is_refused(pairing: np.ndarray) -> None:
    with pytest.raises(InputError, match="pairing: found"):
        AudioVisualDataset(CLIPS, INPUT, mode="eval", pairing=pairing)

from __future__ import annotations

from pathlib import Path

import clip_files
import numpy as np
import pytest
import torch

from avbench.config import InputConfig
from avbench.data.corpus.authors import AuthorsClips
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.spectrogram import fit_rows, log_mel, window_starts
from avbench.data.media.images import to_tensor
from avbench.errors import InputError, RunError

CONFIG = InputConfig(target_length=112, n_mels=32, image_size=48, eval_frame=1)
WINDOWS = InputConfig(target_length=112, n_mels=32, image_size=48, eval_frame=1, segment_length=48)


@pytest.fixture
def clips(tmp_path: Path) -> PreparedClips:
    return PreparedClips.open(clip_files.prepared(tmp_path / "p"))


def rows(clips: PreparedClips, i: int) -> torch.Tensor:
    waveform, rate = clips.waveform(i)
    return fit_rows(log_mel(torch.from_numpy(waveform), rate, CONFIG), CONFIG)


def test_evaluation_item(clips: PreparedClips) -> None:
    item = AudioVisualDataset(clips, CONFIG, mode="eval")[2]
    assert item.index == 2
    torch.testing.assert_close(item.audio, rows(clips, 2))
    torch.testing.assert_close(item.visual, to_tensor(clips.frame(2, 1), CONFIG))
    assert item.audio.dtype == item.visual.dtype == torch.float32


def test_evaluation_frame_of_a_short_clip_is_its_last(clips: PreparedClips) -> None:
    config = InputConfig(target_length=112, n_mels=32, image_size=48, eval_frame=5)
    item = AudioVisualDataset(clips, config, mode="eval")[1]
    torch.testing.assert_close(item.visual, to_tensor(clips.frame(1, 1), config))


def test_training_draws_every_frame_and_is_repeatable(clips: PreparedClips) -> None:
    dataset = AudioVisualDataset(clips, CONFIG, mode="train", seed=3)
    drawn = []
    for epoch in range(12):
        dataset.set_epoch(epoch)
        image = dataset[0].visual
        drawn += [k for k in range(3) if torch.equal(image, to_tensor(clips.frame(0, k), CONFIG))]
    assert len(drawn) == 12
    assert set(drawn) == {0, 1, 2}
    dataset.set_epoch(4)
    again = AudioVisualDataset(clips, CONFIG, mode="train", seed=3)
    again.set_epoch(4)
    assert torch.equal(dataset[0].visual, again[0].visual)


def test_noise_is_a_roll_and_less_than_a_tenth(clips: PreparedClips) -> None:
    dataset = AudioVisualDataset(clips, CONFIG, mode="train", noise=True)
    clean = rows(clips, 0)
    shifts = set()
    for epoch in range(4):
        dataset.set_epoch(epoch)
        noisy = dataset[0].audio
        assert torch.equal(noisy, dataset[0].audio)
        added = [noisy.roll(-shift, 0) - clean for shift in range(len(clean))]
        fitting = [k for k, cells in enumerate(added) if cells.min() >= -1e-6 and cells.max() < 0.1 + 1e-6]
        assert len(fitting) == 1
        assert added[fitting[0]].std() > 0
        shifts.update(fitting)
    assert len(shifts) > 1


def test_no_noise_in_evaluation(clips: PreparedClips) -> None:
    torch.testing.assert_close(AudioVisualDataset(clips, CONFIG, mode="eval", noise=True)[0].audio, rows(clips, 0))


def test_all_frames(clips: PreparedClips) -> None:
    item = AudioVisualDataset(clips, CONFIG, mode="all_frames")[1]
    assert item.audio.shape == (3, 112, 32)
    assert item.visual.shape == (3, 3, 48, 48)
    assert torch.equal(item.visual[2], item.visual[1])  # clip 1 has two frames


def test_windows_of_all_frames(clips: PreparedClips) -> None:
    item = AudioVisualDataset(clips, WINDOWS, mode="all_frames")[0]
    assert item.audio.shape == (3, 48, 32)
    for k, start in enumerate(window_starts(3, 112, 48)):
        torch.testing.assert_close(item.audio[k], rows(clips, 0)[start : start + 48])


def test_window_of_the_drawn_frame(clips: PreparedClips) -> None:
    dataset = AudioVisualDataset(clips, WINDOWS, mode="train", noise=True)
    for epoch in range(5):
        dataset.set_epoch(epoch)
        item = dataset[0]
        k = next(k for k in range(3) if torch.equal(item.visual, to_tensor(clips.frame(0, k), WINDOWS)))
        start = window_starts(3, 112, 48)[k]
        torch.testing.assert_close(item.audio, rows(clips, 0)[start : start + 48])


def test_window_longer_than_the_spectrogram(clips: PreparedClips) -> None:
    with pytest.raises(InputError, match="segment_length"):
        AudioVisualDataset(clips, InputConfig(target_length=32, segment_length=33), mode="eval")


def test_batch_is_the_stacked_items(clips: PreparedClips) -> None:
    dataset = AudioVisualDataset(clips, CONFIG, mode="train", noise=True)
    batch = dataset.batch(np.array([3, 0]))
    assert batch.index.tolist() == [3, 0]
    assert torch.equal(batch.audio, torch.stack([dataset[3].audio, dataset[0].audio]))
    assert torch.equal(batch.visual, torch.stack([dataset[3].visual, dataset[0].visual]))


def test_sound_shorter_than_a_window(tmp_path: Path) -> None:
    manifest = clip_files.authors(tmp_path)
    clip_files.write_wav(tmp_path / "audio" / "clip1.wav", clip_files.sound(0)[:300])
    with pytest.raises(RunError, match=r"clip 'clip1'.*shorter than one window"):
        AudioVisualDataset(AuthorsClips.open(manifest), CONFIG, mode="eval")[1]

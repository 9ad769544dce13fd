"""Spectrograms stored beside a prepared folder: the numbers that are computed without them."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import clip_files
import numpy as np
import pytest
import torch

from avbench.config import InputConfig
from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.frames import framed
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.corpus.stored_rows import FOLDER, damaged_rows, find_rows
from avbench.data.feed.dataset import AudioVisualDataset, Mode
from avbench.data.feed.decoding import Files
from avbench.data.feed.store_rows import store_rows
from avbench.data.media.frame_grid import FrameGrid
from avbench.errors import InputError, RunError

CONFIG = InputConfig(target_length=64, image_size=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return clip_files.prepared(tmp_path / "clips")


@pytest.mark.parametrize(("mode", "segment", "length"), [("eval", 0, 64), ("train", 0, 128), ("all_frames", 24, 64)])
def test_items_are_the_same_bits(folder: Path, mode: Mode, segment: int, length: int) -> None:
    config = InputConfig(target_length=length, image_size=32, segment_length=segment)
    chosen = [4, 0, 3]
    before = AudioVisualDataset(PreparedClips.open(folder).select(chosen), config, mode=mode, noise=True)
    store_rows(folder, config, workers=0, progress=False)
    clips = PreparedClips.open(folder).select(chosen)
    after = AudioVisualDataset(pickle.loads(pickle.dumps(clips)), config, mode=mode, noise=True)
    assert find_rows(clips, config) is not None
    for i in range(3):
        assert torch.equal(before[i].audio, after[i].audio)
        assert torch.equal(before[i].visual, after[i].visual)


def test_any_number_of_processes_writes_the_same(folder: Path) -> None:
    path = store_rows(folder, CONFIG, workers=0, progress=False)
    written = path.read_bytes()
    assert store_rows(folder, CONFIG, workers=2, progress=False).read_bytes() == written
    assert np.load(path).shape == (6, 64, 128)
    assert sorted(each.name.partition(".")[2] for each in (folder / FOLDER).iterdir()) == ["clips.npy", "json", "npy"]


def test_frames_are_chosen_above_them_and_normalisation_is_not_theirs(folder: Path) -> None:
    store_rows(folder, CONFIG, workers=0, progress=False)
    clips = framed(PreparedClips.open(folder), FrameGrid(1, "even"), folder)
    other = InputConfig(target_length=64, image_size=32, audio_mean=0.0, audio_std=1.0)
    assert find_rows(clips, other) is not None
    own = Files(clips, other, stored=False)
    out, expected = torch.empty(64, 128), torch.empty(64, 128)
    Files(clips, other).spectrogram(2, out)
    own.spectrogram(2, expected)
    assert torch.equal(out, expected)


def test_other_settings_and_changed_sounds_are_computed(folder: Path) -> None:
    store_rows(folder, CONFIG, workers=0, progress=False)
    clips = PreparedClips.open(folder)
    assert find_rows(clips, InputConfig(target_length=64, frame_shift_ms=20)) is None
    assert find_rows(changed(clips, Change()), CONFIG) is None


def test_those_of_other_clips_are_not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store_rows(folder, CONFIG, workers=0, progress=False)
    (folder / "prepare.json").write_text(json.dumps({"schema": 1, "settings": {}, "sha256": "1" * 64}))
    with caplog.at_level(logging.WARNING, logger="avbench"):
        assert find_rows(PreparedClips.open(folder), CONFIG) is None
    assert f"avbench data spectrograms {folder}" in caplog.text


def test_damage_is_noticed_and_names_the_clip(folder: Path) -> None:
    path = store_rows(folder, CONFIG, workers=0, progress=False)
    data = bytearray(path.read_bytes())
    data[128 + 2 * 64 * 128 * 4 + 1000] ^= 1
    path.write_bytes(data)
    files = Files(PreparedClips.open(folder), CONFIG)
    files.rows(1)
    with pytest.raises(RunError, match="clip 'clip2': its spectrogram"):
        files.rows(2)
    ids = [f"clip{i}" for i in range(6)]
    assert [line.partition(":")[0] for line in damaged_rows(folder, ids)] == ["clip 'clip2'"]
    path.with_suffix(".clips.npy").write_bytes(b"")
    (line,) = damaged_rows(folder, ids)
    assert f"{path}: cannot be read" in line
    with pytest.raises(InputError, match="cannot be read"):
        find_rows(PreparedClips.open(folder), CONFIG)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.parquet: not found"):
        store_rows(tmp_path, CONFIG)

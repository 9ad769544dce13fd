from __future__ import annotations

import json
from pathlib import Path

import clip_files
import pytest
import torch
from PIL import Image

from avbench.config import InputConfig
from avbench.data.corpus.authors import AuthorsClips
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.feed.spectrogram import log_mel
from avbench.data.stats import data_stats, plot_stats

CONFIG = InputConfig(target_length=256, n_mels=32)


def test_numbers(tmp_path: Path) -> None:
    clips = PreparedClips.open(clip_files.prepared(tmp_path / "p"))
    stats = data_stats(clips, CONFIG, workers=2, progress=False)
    rows = torch.cat([log_mel(torch.from_numpy(clips.waveform(i)[0]), clip_files.RATE, CONFIG) for i in range(6)])
    assert stats["fbank"]["rows"] == len(rows) == 6 * 98
    assert stats["fbank"]["mean"] == pytest.approx(float(rows.mean()), abs=1e-4)
    assert stats["fbank"]["std"] == pytest.approx(float(rows.std()), abs=1e-3)
    assert sum(stats["fbank"]["histogram"]["counts"]) == rows.numel()
    assert stats["labels"] == {"cat": 3, "dog": 3, "rain": 3}
    assert stats["splits"] == {"test": 2, "train": 4}
    assert stats["frames"]["min"] == 2
    assert stats["duration_s"]["median"] == 1.0
    json.dumps(stats, allow_nan=False)


def test_a_sample_and_a_plot(tmp_path: Path) -> None:
    clips = PreparedClips.open(clip_files.prepared(tmp_path / "p"))
    stats = data_stats(clips, CONFIG, max_clips=2, progress=False)
    assert stats["fbank"]["clips"] == 2
    with Image.open(plot_stats(stats, tmp_path / "stats.png")) as image:
        assert image.format == "PNG"


def test_unreadable_clips_are_listed(tmp_path: Path) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    (tmp_path / "audio" / "clip1.wav").unlink()
    stats = data_stats(clips, CONFIG, progress=False)
    assert stats["fbank"]["clips"] == 2
    assert "clip1" in stats["unreadable"][0]
    assert stats["duration_s"] == {}
    plot_stats(stats, tmp_path / "stats.png")

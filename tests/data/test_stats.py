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
from avbench.data.stats import data_stats, plot_stats, stats_text

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


def test_the_figures_fit_on_a_page() -> None:
    quantiles = {"min": 1.0, "p25": 1.0, "median": 2.5, "p75": 3.0, "max": 10.0}
    fbank = {"mean": -5.0811, "std": 4.4849, "rows": 98000, "clips": 1000, "bin_mean": [0.0] * 128, "histogram": {}}
    stats = {
        "clips": 1000,
        "frames": {},
        "duration_s": quantiles,
        "labels": {f"class {number}": 400 - number for number in range(300)},
        "splits": {"test": 200, "train": 800},
        "modalities": ["audio", "visual"],
        "fbank": fbank,
        "unreadable": ["clip 'a': damaged"],
    }
    text = stats_text(stats)
    assert len(text.splitlines()) < 32
    assert "1,000 (200 test, 800 train)" in text
    assert "min 1 s, p25 1 s, median 2.5 s" in text
    assert "--set input.audio_mean=-5.0811 input.audio_std=4.4849" in text
    assert "and 280 more; --format json has all" in text
    assert "unreadable 1, such as clip 'a': damaged" in text

"""``--like``: clips as the authors' own scripts make them, against those scripts' steps written plainly."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from video_files import AUDIO_RATE, write_video

from avbench.cli import main
from avbench.config import DataConfig, InputConfig, ModelConfig
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.feed.spectrogram import log_mel
from avbench.data.locate import locate
from avbench.errors import InputError
from avbench.files import read_json
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.training.export import export_published, save_weights

FPS, SECONDS = 20, 10.6


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10.6 s, frames with a gradient of their own, two channels that differ, sound that starts late."""
    rng = np.random.default_rng(0)
    time = np.arange(round((SECONDS - 0.3) * AUDIO_RATE)) / AUDIO_RATE
    left = 0.3 * np.sin(2 * np.pi * (300 + 40 * time) * time) + 0.02 * rng.standard_normal(len(time))
    right = 0.3 * np.sin(2 * np.pi * 2500 * time) + 0.1 * rng.standard_normal(len(time))
    shade = np.linspace(0, 60, 64)[None, :, None]
    pictures = [
        np.full((48, 64, 3), 0, np.uint8) + (shade + 0.8 * k).astype(np.uint8) for k in range(int(FPS * SECONDS))
    ]
    folder = tmp_path_factory.mktemp("videos")
    write_video(
        folder / "a.mp4",
        pictures=pictures,
        fps=FPS,
        sound=np.stack([left, right]).astype(np.float32),
        sound_at=0.3,
        layout="stereo",
    )
    return folder


def extracted(path: Path, kept: list[int], size: int = 224) -> list[np.ndarray]:
    """Frames by number: short side to ``size``, centre crop, JPEG of the library's own quality."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = []
    for k in kept:
        image = Image.fromarray(frames[k])
        width, height = image.size
        longer = size * width // height
        image = image.resize((longer, size), Image.Resampling.BILINEAR)
        left = round((longer - size) / 2)
        buffer = io.BytesIO()
        image.crop((left, 0, left + size, size)).save(buffer, "JPEG")
        found.append(np.asarray(Image.open(buffer)))
    return found


def first_channel(path: Path) -> np.ndarray:
    """All of the sound at 16 kHz, then its first channel: float32 (n,)."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16p", rate=16000)
        parts = [
            part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(untimed(frame))
        ]
        parts += [part.to_ndarray() for part in resampler.resample(None)]
    return np.concatenate(parts, axis=1)[0].astype(np.float32) / 32768


def untimed(frame: av.AudioFrame) -> av.AudioFrame:
    frame.pts = None
    return frame


def made(videos: Path, out: Path, *words: str) -> PreparedClips:
    assert main(["data", "prepare", str(videos), "--out", str(out), "--workers", "1", *words]) == 0
    return PreparedClips.open(out)


def test_cavmae(videos: Path, tmp_path: Path) -> None:
    clips, plain = made(videos, tmp_path / "like", "--like", "cavmae"), made(videos, tmp_path / "plain")
    total = min(int(FPS * SECONDS), int(FPS * 10))
    kept = [max(int(i * total / 10) - 1, 0) for i in range(10)]
    assert kept[:3] == [0, 19, 39]
    for k, frame in enumerate(extracted(videos / "a.mp4", kept)):
        np.testing.assert_array_equal(clips.frame(0, k), frame)
    theirs = first_channel(videos / "a.mp4")
    waveform, rate = clips.waveform(0)
    assert rate == 16000
    assert len(theirs) > 10.2 * rate  # not cut at 10 s, which the model's 1,024 rows do
    np.testing.assert_array_equal(waveform, theirs)

    def rows(sound: np.ndarray) -> torch.Tensor:
        return log_mel(torch.from_numpy(sound), rate, InputConfig(), max_rows=1024)

    wanted = rows(theirs)
    assert float((rows(waveform) - wanted).abs().median()) == 0.0
    mixed = rows(plain.waveform(0)[0])
    assert float((mixed - wanted[: len(mixed)]).abs().median()) > 0.1


def test_sync(videos: Path, tmp_path: Path) -> None:
    clips = made(videos, tmp_path / "like", "--like=sync")
    kept = np.linspace(0, int(FPS * SECONDS) - 1, 16).astype(int).tolist()  # the first to the last, of all
    assert clips.n_frames(0) == 16
    for k, frame in enumerate(extracted(videos / "a.mp4", kept)):
        np.testing.assert_array_equal(clips.frame(0, k), frame)
    np.testing.assert_array_equal(clips.waveform(0)[0], first_channel(videos / "a.mp4"))


def test_the_folder_says_how_it_was_made_and_options_change_single_settings(videos: Path, tmp_path: Path) -> None:
    # 90 is the default without --like: given, it counts all the same.
    made(videos, tmp_path / "like", "--like", "cavmae", "--jpeg-quality", "90", "--n-frames", "5")
    settings = json.loads((tmp_path / "like" / "prepare.json").read_text())["settings"]
    assert (settings["n_frames"], settings["jpeg_quality"], settings["channels"]) == (5, 90, "first")
    assert (settings["frame_choice"], settings["sound_clock"]) == ("count", "own")
    assert main(["data", "prepare", str(videos), "--out", str(tmp_path / "x"), "--like", "cavmea"]) == 2


def test_on_the_fly(videos: Path) -> None:
    source = locate(DataConfig(source=str(videos), like="sync", n_frames=16, sampling="ends"), InputConfig())
    assert source.settings is not None
    settings = source.settings
    assert (settings.channels, settings.frame_choice, settings.jpeg_quality) == ("first", "count", 75)


def test_clips_that_are_prepared_are_not_prepared_again(videos: Path, tmp_path: Path) -> None:
    made(videos, tmp_path / "plain")
    with pytest.raises(InputError, match=r"data\.like: found cavmae"):
        locate(DataConfig(source=str(tmp_path / "plain"), like="cavmae"), InputConfig())


def test_a_folder_of_an_older_version_is_still_complete(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(videos, tmp_path / "old")
    path = tmp_path / "old" / "prepare.json"
    document = read_json(path)
    for name in ("frame_choice", "frame_seconds", "sound_clock"):
        del document["settings"][name]
    path.write_text(json.dumps(document))
    assert PreparedClips.open(tmp_path / "old").prepared is not None
    made(videos, tmp_path / "old")
    assert "was complete" in capsys.readouterr().out


def test_published_weights_on_clips_prepared_otherwise(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.WARNING, "avbench")
    tiny = ModelConfig(
        embed_dim=64, num_heads=1, modality_depth=1, decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=1
    )
    method = CavMae(CavMaeConfig(), tiny, InputConfig(), seed=1)
    export_published(tmp_path / "audio_model.pth", method)
    save_weights(tmp_path / "ours.safetensors", method)
    made(videos, tmp_path / "plain")
    made(videos, tmp_path / "like", "--like", "cavmae")

    def said(data: Path, weights: str, *words: str) -> list[str]:
        caplog.clear()
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
        arguments = ["--method", "cavmae", "--checkpoint", str(tmp_path / weights), "--data", str(data), *words]
        assert main(["features", *arguments, "--out", str(out), "--results", str(tmp_path / "results")]) == 0
        return [record.getMessage() for record in caplog.records if "prepared otherwise" in record.getMessage()]

    (warned,) = said(tmp_path / "plain", "audio_model.pth")
    for word in ("channels mix (theirs first)", "jpeg_quality 90 (theirs 75)", "data prepare --like cavmae", "\n"):
        assert (word in warned) == (word != "\n")
    assert not said(tmp_path / "like", "audio_model.pth")
    assert not said(tmp_path / "plain", "ours.safetensors")
    (warned,) = said(videos, "audio_model.pth")
    assert "--set data.like=cavmae" in warned
    assert not said(videos, "audio_model.pth", "--set", "data.like=cavmae")

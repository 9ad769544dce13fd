"""Anybody's encoder embeds a video in memory as ``avbench features`` does, and is refused as on the command line."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import avbench
from avbench.cli import main
from avbench.data.soundshapes import make
from avbench.errors import InputError, RunError

TEXT = """
import avbench, torch

class Mine(avbench.Encoder):
    sample_rate, frames, image = 8000, 4, (32, 32)

    def __init__(self, frames: int = 2):
        self.frames = frames

    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean(), w.max()]) for w in waves])

    def visual(self, frames, times):
        return torch.stack([f.float().mean((1, 2)) for f in frames])
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = make(tmp_path_factory.mktemp("videos"), train=2, tune=0, test=0, seed=3, workers=1, progress=False)
    return sorted((folder / "videos").glob("*.mp4"))


class Heard(avbench.Encoder):
    seconds = 1.0
    channels = 2

    def audio(self, waves: list[torch.Tensor], rate: int) -> torch.Tensor:
        assert all(wave.shape[0] == 2 for wave in waves)
        return torch.stack([wave.abs().mean(dim=1) for wave in waves])


class Seen(avbench.Encoder):
    image = (32, 32)

    def visual(self, frames: list[torch.Tensor], times: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(frames).float().mean((1, 2, 3))


class Near(Heard):
    """It compares by the distance of loudness and brightness."""

    channels = 1

    def audio(self, waves: list[torch.Tensor], rate: int) -> torch.Tensor:
        return torch.stack([wave.abs().mean()[None] for wave in waves])

    def visual(self, frames: list[torch.Tensor], times: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(frames).float().mean((1, 2, 3)) / 255

    def similarity(self, audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        return -(audio[:, 0][:, None] - visual[:, 0][None, :, :1]).abs()[..., 0]


def sound_file(path: Path, *levels: int) -> Path:
    """Writes three seconds of square waves, one a channel, of the heights given."""
    sides = [np.where(np.arange(48_000) // 20 % 2, level, -level) for level in levels]
    with wave.open(str(path), "wb") as file:
        file.setparams((len(levels), 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.stack(sides, axis=1).astype("<i2").tobytes())
    return path


def test_a_clip_embeds_as_the_features_command_does(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(TEXT)
    words = ["--encoder", "mine.py:Mine", "--data", str(videos[0].parent), "--out", "x.npz"]
    assert main(["features", *words, "--set", "encoder.frames=3"]) == 0
    model = avbench.load_model("mine.py:Mine", settings={"encoder.frames": 3})
    with np.load("x.npz") as features:
        for k, path in enumerate(videos):
            clip = model.embed_video(path)  # one window of three pictures, each of which gives a row
            assert features["id"][k] == path.stem
            np.testing.assert_allclose(clip.audio, features["audio"][k], atol=1e-6)
            np.testing.assert_allclose(clip.visual, features["visual"][k], atol=2e-3)  # pictures are kept as JPEG
            middles = np.array([1, 3, 5]) / 6 * clip.times[0, 1]
            np.testing.assert_allclose(clip.frame_times, middles, atol=0.13)  # eight pictures a second


def test_a_name_a_module_and_the_class_itself_are_the_same(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("embedded_by_name.py").write_text(TEXT)
    space: dict[str, Any] = {"__name__": "__main__"}  # as a notebook has it: without a file
    exec(TEXT, space)
    given = ("embedded_by_name.py:Mine", "embedded_by_name:Mine", space["Mine"])
    found = [avbench.load_model(each).embed_video(videos[0]) for each in given]
    assert found[0].visual is not None
    assert found[0].visual.shape == (2, 3)
    for clip in found[1:]:
        np.testing.assert_array_equal(clip.visual, found[0].visual)
        np.testing.assert_array_equal(clip.audio, found[0].audio)
    exec(TEXT.replace("f.float()", "-f.float()"), space)  # the cell again, changed
    np.testing.assert_array_equal(avbench.load_model(space["Mine"]).embed_video(videos[0]).visual, -found[0].visual)


def test_one_modality_gives_what_it_has(videos: list[Path], tmp_path: Path) -> None:
    heard, seen = avbench.load_model(Heard), avbench.load_model(Seen)
    clip, picture = heard.embed_video(videos[0]), seen.embed_video(videos[0])
    assert clip.visual is None
    assert picture.audio is None
    assert picture.visual is not None
    assert picture.visual.shape == (1, 3)
    found = avbench.similarity(*videos, model=heard)
    assert found.audio_to_audio == pytest.approx(1, abs=0.2)
    assert found.audio_to_visual is found.visual_to_audio is found.visual_to_visual is None
    alone = heard.embed_video(sound_file(tmp_path / "alone.wav", 4000, 8000))
    assert alone.times.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert np.isnan(alone.frame_times).all()
    np.testing.assert_allclose(alone.audio, np.tile([1, 2] / np.sqrt(5), (3, 1)), atol=1e-3)
    with pytest.raises(InputError, match=r"nothing in it can be used .*no video track"):
        seen.embed_video(tmp_path / "alone.wav")


def test_a_model_of_both_embeds_a_sound_and_a_picture_alone(videos: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    model = avbench.load_model(Near)
    sound = sound_file(tmp_path / "alone.wav", 4000)
    Image.new("RGB", (40, 30), (51, 51, 51)).save(tmp_path / "grey.png")
    assert model.embed_video(sound).visual is None
    assert model.embed_video(tmp_path / "grey.png").audio is None
    found = avbench.similarity(sound, tmp_path / "grey.png", model=model)
    assert found.audio_to_visual == pytest.approx(-abs(4000 / 32768 - 51 / 255), abs=1e-3)  # its own similarity
    assert found.visual_to_audio is found.audio_to_audio is None


def test_what_cannot_be_is_told_as_on_the_command_line(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Fails(Seen):
        def visual(self, frames: list[torch.Tensor], times: list[torch.Tensor]) -> torch.Tensor:
            return 1 / 0 * torch.stack(frames)

    with pytest.raises(RunError, match=r"visual failed with clip 'train_000000@0.00': ZeroDivisionError"):
        avbench.load_model(Fails).embed_video(videos[0])

    class Wide(Near):
        similarity = None

        def visual(self, frames: list[torch.Tensor], times: list[torch.Tensor]) -> torch.Tensor:
            return torch.ones(len(frames), 2)

    with pytest.raises(InputError, match=r"found widths 1 \(audio\) and 2 \(visual\), valid: the same"):
        avbench.similarity(*videos, model=avbench.load_model(Wide))
    for given, said in (
        ("mine.py:Mine", "--encoder mine.py:Mine: no such file mine.py"),
        ("nothing", "unknown method 'nothing'"),
        (int, "valid: a subclass of avbench.Encoder"),
        (Heard(), "valid: a name, FILE.py:Class, or a class of encoders"),
    ):
        with pytest.raises(InputError, match=said):
            avbench.load_model(given)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InputError, match="--checkpoint: found nothing, valid: a weights file"):
        avbench.load_model("cavmae")
    with pytest.raises(InputError, match=r"encoder\.depth"):
        avbench.load_model(Heard, settings={"encoder.depth": 3})
    with pytest.raises(RunError, match="Heard defines no load"):
        (tmp_path / "x.pt").touch()
        avbench.load_model(Heard, tmp_path / "x.pt")

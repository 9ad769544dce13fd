"""Encoders as people write them: the right answer, or one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.store.extracted import arrays

Judge = Callable[..., tuple[int, list[dict[str, Any]]]]

VISUAL = """
    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2))[:2] for f in frames])
"""
AUDIO = """
    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])
"""


def of_stage(record: dict[str, Any], stage: str = "vectors") -> dict[str, np.ndarray]:
    return {**arrays(Path("results/stages") / stage / record["stages"][stage][0])}


def test_many_frames_another_rate_and_a_short_sound(judge: Judge) -> None:
    status, (record,) = judge(
        """
        class Mine(avbench.Encoder):
            sample_rate, seconds, frames, image = 8000, 0.5, 3, (20, 30)

            def audio(self, waves, rate):
                assert rate == 8000 and all(w.shape == (4000,) and w.dtype == torch.float32 for w in waves)
                return torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])

            def visual(self, frames, times):
                assert all(f.shape == (3, 20, 30, 3) and f.dtype == torch.uint8 for f in frames)
                assert all(t.shape == (3,) and (t.diff() > 0).all() for t in times)
                return torch.stack([torch.stack([f.float().mean(), t.mean()]) for f, t in zip(frames, times)])
        """
    )
    assert status == 0
    assert record["method"] == "Mine"
    assert record["config"]["encoder"]["image"] == [20, 30]
    assert record["n"] == 8
    spread = of_stage(record)["visual"][:, 0, 1]
    assert np.allclose(spread, spread[0])  # clips of one length: the mean of evenly spread times is its middle


def test_times_are_the_middles_of_equal_parts(judge: Judge) -> None:
    status, (record,) = judge(
        f"""
class Mine(avbench.Encoder):
    frames = 4
{AUDIO}
    def visual(self, frames, times):
        return torch.stack(times)[:, :2] * torch.ones(2)
"""
    )
    first, second = of_stage(record)["visual"][0, 0]
    assert status == 0
    assert 0.1 < first < 0.5
    assert second == pytest.approx(3 * first, abs=0.25)  # the pictures shown then, eight a second


def test_a_vector_for_each_of_several_times(judge: Judge) -> None:
    status, (record,) = judge(
        f"""
class Mine(avbench.Encoder):
    frames = 3
{AUDIO}
    def visual(self, frames, times):
        return torch.stack([f.float().mean((1, 2))[:, :2] for f in frames])
"""
    )
    assert status == 0
    assert of_stage(record)["visual"].shape == (8, 3, 2)
    assert of_stage(record)["audio"].shape == (8, 1, 2)


def test_one_modality_does_what_needs_one_and_is_refused_else(judge: Judge, capsys: pytest.CaptureFixture) -> None:
    source = f"""
class Mine(avbench.Encoder):
{AUDIO}
"""
    status, (record,) = judge(source, task="linear_probe")
    assert status == 0
    assert "audio/top1" in record["metrics"]
    assert "visual/top1" not in record["metrics"]
    status, records = judge(source)
    assert (status, records) == (2, [])
    assert "takes audio only, and the task compares audio and visual" in capsys.readouterr().err


def test_batch_norm_half_precision_and_buffers(judge: Judge) -> None:
    status, (record,) = judge(
        """
        class Mine(avbench.Encoder, torch.nn.Module):
            random = True

            def __init__(self):
                super().__init__()
                self.norm = torch.nn.BatchNorm1d(2)
                self.register_buffer("count", torch.zeros((), dtype=torch.int64))

            def audio(self, waves, rate):
                assert not self.training
                return self.norm(torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])).half()

            def visual(self, frames, times):
                return torch.stack([f.float().mean((0, 1, 2))[:2] for f in frames]).bfloat16()
        """
    )
    assert status == 0
    assert of_stage(record)["audio"].dtype == np.float32


def test_joint_vectors_are_probed(judge: Judge) -> None:
    status, (record,) = judge(
        f"""
class Mine(avbench.Encoder):
{AUDIO}{VISUAL}
    def joint(self, waves, rate, frames, times):
        return torch.cat([self.audio(waves, rate), self.visual(frames, times)], dim=1)
""",
        task="linear_probe",
    )
    assert status == 0
    assert "joint/top1" in record["metrics"]


def test_clips_are_prepared_where_they_are_read(judge: Judge) -> None:
    source = """
class Mine(avbench.Encoder):
    frames = 2

    def prepare_audio(self, wave, rate):
        return {"level": torch.stack([wave.std(), wave.abs().mean()])}

    def prepare_visual(self, frames, times):
        return frames.float().mean((0, 1, 2))[:2]

    def audio(self, waves, rate):
        return torch.stack([w["level"] for w in waves])

    def visual(self, frames, times):
        return torch.stack(frames)
"""
    status, (record,) = judge(source)
    assert status == 0
    status, (again,) = judge(source, "--results", "other", "--set", "train.workers=2")
    plain = {**arrays(Path("results/stages/vectors") / record["stages"]["vectors"][0])}
    assert (status, again["id"]) == (0, record["id"])
    other = {**arrays(Path("other/stages/vectors") / record["stages"]["vectors"][0])}
    assert all(np.array_equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "    def audio(self, waves, rate):\n        return torch.stack([1 / 0 for w in waves])\n",
            "audio failed with clip 'train_000001': ZeroDivisionError: division by zero (mine.py, line 6)",
        ),
        (
            "    def audio(self, waves, rate):\n        return torch.full((len(waves), 2), torch.nan)\n",
            "returned values that are not finite for clip 'train_000001', 'train_000003', 'train_000005' and 5 more",
        ),
        (
            "    def audio(self, waves, rate):\n        return torch.ones(1 + len(waves), 2)\n",
            "audio returned 9 rows, valid: (B, D) or (B, F, D) for B = 8 clips: one for each",
        ),
        (
            "    def audio(self, waves, rate):\n        return torch.ones(len(waves))\n",
            "audio returned shape (8,), valid: (B, D) or (B, F, D) for B = 8 clips",
        ),
        (
            "    def audio(self, waves, rate):\n        return [w.mean() for w in waves]\n",
            "audio returned a list, valid: (B, D) or (B, F, D) for B = 8 clips, a tensor of numbers; torch.stack",
        ),
        (
            "    def audio(self, waves, rate): ...\n",
            "audio returned nothing, valid: (B, D) or (B, F, D)",
        ),
        (
            AUDIO + "    def load(self, device, checkpoint=None):\n        open('nowhere.pt')\n",
            "load failed: FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.pt' (mine.py, line",
        ),
        (
            "    def audio(self, waves, rate):\n        return torch.ones(len(waves), 3)\n",
            "found widths 3 (audio) and 2 (visual), valid: the same",
        ),
        (
            AUDIO + "    def prepare_audio(self, wave, rate):\n        return wave.nothing\n",
            "prepare_audio failed with clip 'train_000001': AttributeError",
        ),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(judge: Judge, capsys: pytest.CaptureFixture, body: str, said: str) -> None:
    status, records = judge(f"\nclass Mine(avbench.Encoder):\n{body}{VISUAL}")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert (status, records, len(lines)) == (1, [], 1)
    assert said in lines[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Mine(avbench.Encoder): ...", "Mine defines neither audio nor visual; define one of them"),
        ("class Mine: ...", "valid: a subclass of avbench.Encoder"),
        ("class Min(avbench.Encoder): ...", "unknown class of mine.py 'Mine'. Did you mean 'Min'?"),
        (
            "import nothing_of_the_kind",
            "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("class Mine(avbench.Encoder\n", "cannot be imported: SyntaxError"),
        ("class Mine(avbench.Encoder):\n    def audio(self, waves): ...\n", "valid: audio(self, waves, rate)"),
        (
            "class Mine(avbench.Encoder):\n    def __init__(self, size): ...\n    def audio(self, waves, rate): ...\n",
            "argument 'size' of Mine has no default",
        ),
        ("class Mine(avbench.Encoder):\n    channels = 3\n" + AUDIO + VISUAL, "channels: found 3 (a whole number)"),
        (
            "class Mine(avbench.Encoder):\n    image = (2,)\n" + AUDIO + VISUAL,
            "valid: (height, width) in pixels, or None",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_begun(
    judge: Judge, capsys: pytest.CaptureFixture, source: str, said: str
) -> None:
    status, records = judge(source)
    error = capsys.readouterr().err
    assert (status, records) == (2, [])
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("results").exists()


def test_a_similarity_of_its_own(judge: Judge, capsys: pytest.CaptureFixture) -> None:
    source = f"""
class Mine(avbench.Encoder):
    frames = 3
{AUDIO}
    def visual(self, frames, times):
        return torch.stack([torch.full((3, 4), f.float().mean()) for f in frames])
    def similarity(self, audio, visual):
        assert audio.shape[1:] == (1, 2) and visual.shape[1:] == (3, 4)
        return -(audio[:, 0, 1][:, None] - visual[:, 0, 0][None] / 255).abs()
"""
    status, (record,) = judge(source)
    found = of_stage(record)
    sound, colour = found["audio"][:, 0, 1], found["visual"][:, 0, 0] / 255
    close = -np.abs(sound[:, None] - colour[None])
    ranks = (close > close.diagonal()[:, None]).sum(axis=1) + 1
    assert status == 0
    assert record["metrics"]["a2v/median_rank"] == np.median(ranks)
    assert record["metrics"]["v2a/R@1"] == np.mean(close.argmax(axis=0) == np.arange(8))
    status, (record,) = judge(source, task="class_retrieval")
    assert status == 0
    assert record["metrics"]["a2v/median_rank"] == np.median(ranks)
    capsys.readouterr()
    status, records = judge(source.replace("visual[:, 0, 0][None] / 255", "visual[:1, 0, 0][None]"))
    assert (status, records) == (1, [])
    assert "similarity returned shape (8, 1) for 8 sounds and 8 pictures" in capsys.readouterr().err


def test_patches_of_another_grid_are_localized(judge: Judge, tmp_path: Path, videos: Path) -> None:
    source = """
class Mine(avbench.Encoder):
    image = (96, 96)
    frames = 3

    def audio(self, waves, rate):
        return torch.ones(len(waves), 1)

    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2))[:1] for f in frames])

    def patches(self, frames, times):
        pictures = torch.stack(frames).float().mean(-1)  # (B, F, H, W)
        pooled = torch.nn.functional.adaptive_avg_pool2d(pictures, (7, 5))
        return (pooled - pooled.mean((2, 3), keepdim=True))[..., None]
"""
    words = ("--set", f"task.annotations={videos.parent / 'masks.npz'}", "task.pictures=0", "data.split=all")
    status, (record,) = judge(source, *words, "task.similarity=dot", task="localization")
    assert status == 0
    assert of_stage(record, "tokens")["visual"].shape == (8, 3, 7, 5, 1)
    assert record["n"] == 8
    # Shapes are brighter than the dark ground, in any picture: the sum of colours finds them.
    assert record["metrics"]["AP"] > record["metrics"]["random/AP"]


@pytest.mark.parametrize("layout", ["stereo", "mono", "5.1"])
def test_two_channels_are_heard_apart(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """Left 440 Hz at half the height of right's 880 Hz; of one channel, both are it."""
    import av

    folder = tmp_path / "own"
    folder.mkdir()
    time = np.arange(32_000) / 16_000
    left, right = 0.2 * np.sin(2 * np.pi * 440 * time), 0.4 * np.sin(2 * np.pi * 880 * time)
    count = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    sound = np.zeros((count, len(time)), np.float32)
    sound[: min(2, count)] = [left, right][: min(2, count)]
    for name in "ab":
        with av.open(str(folder / f"{name}.mkv"), "w") as container:
            picture = container.add_stream("ffv1", rate=4)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
            track = container.add_stream("flac", rate=16_000)
            track.codec_context.layout, track.codec_context.format = layout, "s16"
            for k in range(8):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                frame.pts = k
                container.mux(picture.encode(frame))
            packed = (sound.T.reshape(1, -1) * 32767).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            heard.sample_rate, heard.pts = 16_000, 0
            container.mux([*picture.encode(None), *track.encode(heard), *track.encode(None)])
    status, (record,) = judge(
        """
        class Mine(avbench.Encoder):
            channels = 2

            def audio(self, waves, rate):
                assert all(w.shape == (2, 32_000) for w in waves)
                return torch.stack([w.std(dim=1) for w in waves])

            def visual(self, frames, times):
                return torch.ones(len(frames), 2)
        """,
        "--data",
        str(folder),
    )
    found = of_stage(record)["audio"][0, 0]
    assert status == 0
    wanted = (left.std(), left.std() if layout == "mono" else right.std())
    assert found[1] / found[0] == pytest.approx(wanted[1] / wanted[0], rel=0.01)
    if layout != "5.1":  # which is mixed down by factors of its own
        assert found == pytest.approx(wanted, rel=0.01)

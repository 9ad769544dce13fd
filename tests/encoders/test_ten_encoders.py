"""Encoders as people write them: the right answer, or one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoder_text import AUDIO, VISUAL, Judge, of_stage

from avbench.store.extracted import arrays


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


@pytest.mark.parametrize("held", ["{}", "[{}]", "dict(one={})"])
def test_what_an_encoder_holds_computes_as_in_evaluation(judge: Judge, held: str) -> None:
    """It is no module itself, and calls eval() nowhere."""
    taken = {"{}": "self.norm", "[{}]": "self.norm[0]", "dict(one={})": "self.norm['one']"}[held]
    status, (record,) = judge(
        f"""
class Mine(avbench.Encoder):
    def load(self, device, checkpoint=None):
        self.norm = {held.format("torch.nn.BatchNorm1d(2)")}

    def audio(self, waves, rate):
        return {taken}(torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves]))
""",
        task="linear_probe",
    )
    assert status == 0
    assert (of_stage(record)["audio"] > 0).all()  # by the statistics of the batch, the mean would be 0


def test_a_function_may_change_what_it_is_given(judge: Judge) -> None:
    status, (record,) = judge(
        f"""
class Mine(avbench.Encoder):
{VISUAL}
    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.sub_(w).add_(1).mean()]) for w in waves])

    def joint(self, waves, rate, frames, times):
        return torch.stack([torch.stack([w.std(), f.float().std()]) for w, f in zip(waves, frames)])
""",
        task="linear_probe",
    )
    assert status == 0
    assert (of_stage(record)["joint"][:, 0, 0] == of_stage(record)["audio"][:, 0, 0]).all()


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
            "    def audio(self, waves, rate):\n        raise SystemExit(3)\n",
            "audio failed with clip 'train_000001': SystemExit: 3 (mine.py, line 6)",
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
        (
            f"class Mine(avbench.Encoder):\n{AUDIO}    def patches(self, frames, times): ...\n",
            "Mine defines patches without visual, valid: beside visual",
        ),
        ("class Mine: ...", "valid: a subclass of avbench.Encoder"),
        ("class Min(avbench.Encoder): ...", "unknown class of mine.py 'Mine'. Did you mean 'Min'?"),
        (
            "import nothing_of_the_kind",
            "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("raise SystemExit('usage: mine.py')", "cannot be imported: SystemExit: usage: mine.py"),
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

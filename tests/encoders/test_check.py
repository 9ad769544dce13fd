"""What the checker says of encoders that are right, and of those that are not."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from avbench import cli
from avbench.methods.cavmae import CavMae
from avbench.registry import encoders

CLIPS = ("data.train_clips=8", "data.test_clips=8")
RIGHT = """
class Mine(avbench.Encoder):
    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])

    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2))[:2] for f in frames])
"""


@pytest.fixture
def checked(
    videos: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(text: str) -> tuple[int, list[str], list[str]]:
        Path("mine.py").write_text("import avbench\nimport torch\n" + textwrap.dedent(text), encoding="utf-8")
        encoders.forget()
        status = cli.main(["check", "encoder", "mine.py:Mine", "--data", str(videos), "--device", "cpu"])
        lines = capsys.readouterr().out.splitlines()
        assert not any(os.path.lexists(name) for name in ("results",))
        return status, lines, [line for line in lines if line.startswith("FAILED")]

    return run


def test_a_right_one(checked) -> None:
    status, lines, failed = checked(RIGHT)
    assert (status, failed) == (0, [])
    assert any("audio: (8, 2) for 8 clips, all finite" in line for line in lines)
    assert any("tasks: " in line and "retrieval" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ("for f in frames])", "for f in frames]) - len(frames)", "visual: a clip alone is not as among 3"),
        ("for f in frames])", "for f in frames]) * torch.rand(1)", "visual: something else a second time"),
        (
            "[torch.stack([w.std(), w.abs().mean()]) for w in waves]",
            "[torch.ones(2) for w in waves]",
            "the same for all 8",
        ),
        (
            "w.abs().mean()])",
            "w.abs().mean()]) / w.std()",
            "silence: encoder Mine (mine.py:Mine): audio returned values",
        ),
        ("[:2] for f", "[:1] for f", "audio and visual: widths 2 and 1"),
        ("w.std(), ", "w.nothing, ", "audio failed with clip"),
    ],
)
def test_a_wrong_one_is_told_what_to_do(checked, change: str, to: str, said: str) -> None:
    assert change in RIGHT
    status, _, failed = checked(RIGHT.replace(change, to))
    assert status == 1
    assert any(said in line for line in failed), failed


def test_other_numbers_of_vectors_are_told_before_retrieval_refuses_them(checked) -> None:
    loud, grey = "[w.std(), w.abs().mean()]", "f.float().mean((0, 1, 2))[:2]"
    several = RIGHT.replace(loud, f"[torch.stack({loud})] * 3").replace(grey, f"torch.stack(2 * [{grey}])")
    status, _, (failed,) = checked(several)
    assert status == 1
    assert "audio and visual: 3 and 2 vectors a clip; valid for retrieval: as many of both" in failed


def test_pictures_that_are_far_from_their_sounds_are_noticed(checked) -> None:
    status, _, failed = checked(
        """
        class Mine(avbench.Encoder):
            def audio(self, waves, rate):
                return torch.eye(8)[: len(waves)]

            def visual(self, frames, times):
                return -torch.eye(8)[: len(frames)]
        """
    )
    assert status == 1
    assert len(failed) == 1
    assert "a clip's own sound is further by 1 than others'" in failed[0]


@pytest.mark.parametrize(
    ("method", "arrays"),
    [
        ("cavmae", ("audio: (8, 96)", "joint: (8, 96)", "patches: (8, 36, 96)", "audio_tokens: (8, 96)")),
        ("cavmae_sync", ("audio: (8, 6, 96)", "visual: (8, 6, 96)", "patches: (8, 6, 36, 96)")),
        ("audiomae", ("audio: (8, 96)",)),
    ],
)
def test_a_method_is_asked_the_same(capsys: pytest.CaptureFixture, method: str, arrays: tuple[str, ...]) -> None:
    status = cli.main(["check", "encoder", method, "--set", *CLIPS, "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[0].startswith(f"ok      {method}: loaded in ")
    assert "on cpu, without training; tasks: " in lines[0]
    for name in arrays:
        assert any(line.startswith(f"ok      {name} for 8 clips") for line in lines), lines
    for said in ("a clip alone is as among 3", "the same a second time", "silence gives finite numbers"):
        assert any(said in line for line in lines)
    assert any("a clip's own sound is" in line for line in lines) == (method != "audiomae")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (lambda: torch.rand(1), "audio: something else a second time"),
        (lambda: float("nan"), "method cavmae: vectors: audio returned values that are not finite for clip"),
        (lambda: 1 / 0, "method cavmae: vectors failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_method_that_is_wrong_is_told_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, number: Callable[[], Any], said: str
) -> None:
    right = CavMae.vectors

    def wrong(self: CavMae, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        found = right(self, *inputs)
        return {**found, "audio": found["audio"] * number()}

    monkeypatch.setattr(CavMae, "vectors", wrong)
    assert cli.main(["check", "encoder", "cavmae", "--device", "cpu", "--set", *CLIPS]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert any(said in line for line in failed), failed

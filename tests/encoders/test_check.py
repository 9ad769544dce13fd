"""What the checker says of encoders that are right, and of those that are not."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from avbench import cli
from avbench.registry import encoders

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

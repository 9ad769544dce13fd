"""``avbench evaluate`` on files that other programs made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avbench.cli import main


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two VGG-SS boxes and a map for each: one on its box, one beside it; records go into the folder of the test."""
    monkeypatch.chdir(tmp_path)
    boxes = [{"file": f"clip{i}_000001", "class": "dog", "bbox": [[0.0, 0.0, 0.8, 0.8]]} for i in range(2)]
    (tmp_path / "vggss.json").write_text(json.dumps(boxes))
    row, column = np.mgrid[:14, :14]
    right = -np.maximum(row, column).astype(np.float32)
    np.savez(tmp_path / "maps.npz", id=["clip0_000001", "clip1_000001"], map=np.stack([right, -right]))
    return ["--heatmaps", str(tmp_path / "maps.npz"), "--annotations", str(tmp_path / "vggss.json")]


def test_heat_maps_are_scored_beside_their_controls(maps: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--task", "localization", *maps, "--format", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["task"], result["n"]) == ("localization", 2)
    assert result["metrics"]["cIoU@0.5"] == 0.5
    assert result["metrics"]["oracle/cIoU@0.5"] == 1.0
    assert main(["evaluate", "--task", "localization", *maps]) == 0
    assert "centre_disc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--task", "retrieval"], "--heatmaps: not used by task 'retrieval'"),
        (["--task", "localization", "--checkpoint", "x.pth"], "--checkpoint: not used where"),
        (["--task", "localization", "--features", "x.npz"], "not used where"),
        (["--task", "localization", "--set", "train.lr=1"], "cannot change features that are given"),
    ],
)
def test_what_does_not_go_with_heat_maps_is_refused(
    maps: list[str], words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words, *maps]) == 2
    assert told in capsys.readouterr().err


def test_annotations_that_are_not_there_are_refused_and_nothing_is_written(
    maps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--annotations", "none.json", "--results", "nothing"]
    assert main(["evaluate", "--task", "localization", *maps[:2], *words]) == 2
    assert "--annotations none.json: no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_heat_maps_need_annotations(maps: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--task", "localization", *maps[:2]]) == 2
    assert "--annotations: found nothing" in capsys.readouterr().err

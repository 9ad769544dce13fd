"""Five identical commands at once of those that write one file or folder: each ends well, and one result is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avbench.cli import main

SMALL = ["data.train_clips=16", "data.test_clips=12", "train.batch_size=8", "train.steps=2", "train.workers=0"]
COMMANDS = {
    "make": ["data", "make", "soundshapes", "--clips", "8", "--workers", "1"],
    "archive": ["archive", "all", "--results", "results"],
    "tables": ["tables", "--data", "soundshapes", "--results", "results", "--format", "latex", "markdown"],
    "report": ["report", "--results", "results"],
    "export": ["checkpoint", "export", "weights.safetensors"],
    "features": [
        "features",
        "--method",
        "cav",
        "--checkpoint",
        "weights.safetensors",
        "--data",
        "soundshapes",
        "--set",
        *SMALL[:2],
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("five")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert main(["run", "--method", "cav", "--task", "retrieval", "--set", *SMALL]) == 0
    (weights,) = folder.glob("results/stages/pretrain/*/weights.safetensors")
    (folder / "weights.safetensors").write_bytes(weights.read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_five_at_once_leave_what_one_does(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(place / "cache"))
    suffix = {"report": ".html", "export": ".pth", "features": ".npz"}.get(name, "")
    alone, together = (place / f"{name}-{count}" / f"out{suffix}" for count in (1, 5))
    for out, count in ((alone, 1), (together, 5)):
        out.parent.mkdir()
        words = [sys.executable, "-m", "avbench", *COMMANDS[name], "--out", str(out)]
        started = [subprocess.Popen(words, cwd=place, stderr=subprocess.PIPE, text=True) for _ in range(count)]
        ended = [(process.communicate()[1], process.returncode) for process in started]
        assert [status for _, status in ended] == [0] * count, ended
    found = [{str(path.relative_to(out.parent)): path for path in out.parent.rglob("*")} for out in (alone, together)]
    assert found[0].keys() == found[1].keys()  # no file more: nothing temporary is left
    for path in found[0]:
        one, other = found[0][path], found[1][path]
        assert one.is_dir() or one.read_bytes() == other.read_bytes(), path

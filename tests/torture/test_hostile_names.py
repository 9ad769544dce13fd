"""Classes, clips and a data set with hostile names, through a small run: in every output they are names."""

from __future__ import annotations

import json
import shlex
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from avbench.cli import main

CLASSES = ("<script>alert(1)<", "$\\frac$", "%\\input{x}", '"; touch ran; "', "`touch ran`|*b*", "\x1b[2J\u202e")
FEW = ["data.split=all", "train.batch_size=4", "train.steps=2", "train.workers=0"]


class Scripts(HTMLParser):
    """Notes what would run or be asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def test_names_are_names_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    assert main(["data", "make", "soundshapes", "--clips", "12", "--out", "made", "--workers", "1"]) == 0
    data = Path("in", "$\\foo$ %<b>; touch ran #")
    for number, video in enumerate(sorted(Path("made").rglob("*.mp4"))):
        name = CLASSES[number % len(CLASSES)]
        (data / name).mkdir(parents=True, exist_ok=True)
        video.rename(data / name / f"{number} {name}.mp4")
    capsys.readouterr()
    said = ""
    for words in (
        ["data", "stats", str(data), "--plot", "stats.png"],
        [
            "run",
            "--method",
            "cavmae",
            "--data",
            str(data),
            "--skip-untrained",
            "--preset",
            "soundshapes",
            "--set",
            *FEW,
        ],
        ["list", "runs"],
        ["tables", "table_03", "--data", data.name, "--format", "latex", "markdown", "csv", "html", "terminal"],
        ["figures"],
        ["report"],
    ):
        status = main(words)
        told = capsys.readouterr()
        assert status == 0, (words, told.err[-2000:])
        assert "Traceback" not in told.err
        said += told.out + told.err
    assert not [sign for sign in said if not sign.isprintable() and sign not in "\n\t\r"]
    (record,) = (json.loads(path.read_text()) for path in Path("results/runs").glob("*/record.json"))
    assert record["data"] == data.name
    assert main(["checkpoint", "push", record["id"], "me/small", "--out", "card"]) == 0
    card = Path("card/README.md").read_text()
    assert "<b>" not in card
    (line,) = (line for line in card.splitlines() if line.startswith("avbench "))
    assert shlex.split(line)[:2] == ["avbench", "evaluate"]

    written = [path for path in Path("results").rglob("*") if path.is_file()]
    pages = [path for path in written if path.suffix == ".html"]
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        found = Scripts()
        found.feed(text)
        assert found.handlers == []
        assert not any(script.startswith("alert(1)") for script in found.scripts)
        assert "<b>;" not in text
    for path in (each for each in written if each.suffix == ".tex"):
        assert "\\input{x}" not in path.read_text()
        assert "$\\foo$" not in path.read_text()
    commands = [each.strip() for each in said.splitlines() if each.strip().startswith("avbench ") and "--data" in each]
    for command in commands:
        subprocess.run(["bash", "-nc", command], check=True)
        assert data.name in " ".join(shlex.split(command))
    assert not Path("ran").exists()

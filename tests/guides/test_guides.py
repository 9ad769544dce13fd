"""The guides, tried literally: their files written where they say, into a copy of the package, their commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_STANDS_FOR = {"FILE", "DIR"}  # of the reader's: such commands are parsed by tests/test_docs.py
# What a newcomer must see, of all that the commands print.
WANTED = {
    "encoder": (
        "Loudness  audio → visual",
        "results/report.html",
        "ok      audio: silence gives",
        "\nColours  visual",
        "\nTrained  joint",
    ),
    "method": ("Sigmoid: CAV-MAE's encoder", "sigmoid (untrained)", "\nsigmoid  "),
    "task": ("how alike sound and picture", "(methods: avmae, cav, cavmae,", "cosine"),
    "table_or_recipe": ("My table", "table_mine.tex", "avbench run --method cav ", "a short training"),
    "data_set": ("short clips of four shapes", "retrieval on shapes"),
}


def steps(page: Path) -> Iterator[tuple[str, str]]:
    """Yields (path, text) of each file and ("", command) of each command, in the order of a guide."""
    for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["path"]:
            yield block["path"], block["text"]
        elif block["kind"] == "sh":
            for line in block["text"].replace("\\\n", " ").splitlines():
                if not _STANDS_FOR & set(line.split()):
                    yield "", line


def test_there_is_one_for_each_thing_that_people_add() -> None:
    assert {page.stem for page in (ROOT / "docs" / "guides").glob("*.md")} == set(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_a_guide_works_word_for_word(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "avbench", tmp_path / "avbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "results" / "paper", tmp_path / "results" / "paper")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AVBENCH_CACHE": str(tmp_path / "cache")}
    shown, written = "", []
    for path, text in steps(ROOT / "docs" / "guides" / f"{name}.md"):
        if path:
            target = tmp_path / path
            assert not target.exists(), f"{path}: a guide adds files and changes none"
            target.write_text(text, encoding="utf-8")
            written.append(path)
            continue
        program, *words = shlex.split(text)
        assert program == "avbench"
        command = [sys.executable, "-m", "avbench", *words]
        answer = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, f"{text}\n{answer.stdout}{answer.stderr}"
        shown += answer.stdout
    ours = {"encoder": 0, "method": 1, "task": 1}.get(name, 2)
    assert sum(path.startswith("avbench/") for path in written) == ours
    for words_ in WANTED[name]:
        assert words_ in shown

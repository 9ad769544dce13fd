"""The pages for a first hour, followed literally in an empty folder; what takes long runs in its smallest form."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_guides import steps

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "start").glob("*.md"))
SMALL = ["--preset", "smoke"]
HEADS = [
    "model.embed_dim=64",
    "model.num_heads=1",
    "model.decoder_embed_dim=32",
    "model.decoder_num_heads=1",
]  # as shapes tell
PUBLISHED = "audio_model.21.pth"  # stands for the authors' file
# What a newcomer must see, of all that a page's commands print.
WANTED = {
    "first_run": ("cavmae (untrained)", "linear_probe on soundshapes", "method.lambda_c = 0.01", "report.html"),
    "videos": ("retrieval on clips", "linear_probe on labels", "0 problems", "retrieval on prepared"),
    "checkpoint": ("cavmae", "retrieval on clips", "features.npz", "mine"),
}


def avbench(words: list[str], folder: Path) -> str:
    """Runs a command as a reader in a folder of their own would, and returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AVBENCH_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "avbench", *words]
    answer = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{shlex.join(words)}\n{answer.stdout}{answer.stderr}"
    return answer.stdout


def published(folder: Path) -> None:
    """Writes small weights in the authors' format under the name of their file."""
    avbench(["pretrain", "--method", "cavmae", *SMALL, "--set", *HEADS, "--results", "before"], folder)
    (weights,) = (folder / "before").glob("stages/pretrain/*/weights.safetensors")
    avbench(["checkpoint", "export", str(weights), "--out", PUBLISHED], folder)


def test_every_page_of_the_first_hour_is_followed() -> None:
    assert {page.stem for page in PAGES} == set(WANTED)


@pytest.mark.slow
@pytest.mark.parametrize("name", WANTED)
def test_a_page_works_word_for_word(name: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / "start" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    if PUBLISHED in text:
        published(tmp_path)
    shown = ""
    for path, line in steps(page):
        assert not path
        program, *words = shlex.split(line)
        assert program == "avbench"
        long = words[0] == "run" and "--preset" not in words
        shown += avbench([*words, *SMALL] if long else words, tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "AVBENCH_CACHE": str(tmp_path / "cache")}
        subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=environment, check=True)
    for words_ in WANTED[name]:
        assert words_ in shown

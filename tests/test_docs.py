"""What the documents say works: links, command lines, and the example of a method, which runs as a plug-in."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from avbench import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_the_readme_has_no_gaps() -> None:
    for page in PAGES:
        assert not re.search(r"^(RUN_OUTPUT|MEASURED|TODO)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def _command_lines() -> list[list[str]]:
    """Returns the words of each ``avbench`` command in a block of code, without those that stand for others (...)."""
    found = []
    for page in (page for page in PAGES if page.name != "CHANGELOG.md"):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?:    )?(?:torchrun .*-m )?avbench (.*)$", text, re.MULTILINE):
            words = shlex.split(line.replace("[RUN ...]", ""), comments=True)
            if "..." not in words:
                found.append(words)
    return found


@pytest.mark.parametrize("words", _command_lines(), ids=" ".join)
def test_every_command_line_is_accepted(words: list[str]) -> None:
    name, *options = words
    module = importlib.import_module(f"avbench.commands.{name}")
    command = module.ACTIONS[options.pop(0)] if hasattr(module, "ACTIONS") else module.Command
    parsed = command.parse(name, options) if hasattr(command, "parse") else cli.parse(command, name, options)
    assert isinstance(parsed, command)


def test_the_example_method_runs_as_a_plug_in(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert example.count("\n") <= 40
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mymethod.py").write_text(example, encoding="utf-8")
    info = tmp_path / "mypackage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[avbench.methods]\nmymethod = mypackage.mymethod\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AVBENCH_CACHE": str(tmp_path / "cache")}
    sets = ["data.train_clips=16", "data.test_clips=8", "train.batch_size=8", "train.steps=2"]
    words = [sys.executable, "-m", "avbench"]

    def avbench(*more: str) -> str:
        answer = subprocess.run(
            [*words, *more], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    assert "[from mypackage]" in avbench("list", "methods")
    table = avbench("run", "--method", "mymethod", "--task", "retrieval", "--set", *sets)
    assert "mymethod (untrained)" in table

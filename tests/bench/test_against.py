"""The comparison with another commit: both sides are measured, each with its own code, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "benchmarks" / "against.py"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_two_commits_are_measured_in_turn_and_their_bits_compared() -> None:
    def worktrees() -> list[str]:
        words = ["git", "-C", str(ROOT), "worktree", "list", "--porcelain"]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if line.startswith("worktree ")]

    before = worktrees()
    words = [sys.executable, str(SCRIPT), "HEAD", "--parts", "retrieval", "item", "--repeats", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/")
    head, _, *rows = done.stdout.splitlines()
    assert head.split("  ")[0] == "what"
    for row, name in zip(rows, ("retrieval", "item"), strict=True):
        what, this, that, *_, same = row.split()
        assert (what, same) == (name, "yes")
        assert float(this) > 0
        assert float(that) > 0
    assert worktrees() == before


def test_an_unknown_commit_is_refused() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "no-such-commit"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no-such-commit" in done.stderr

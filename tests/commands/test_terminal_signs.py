"""Whatever the encoding of the terminal, a command ends as it should, and signs it lacks have stand-ins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
def test_results_are_printed_on_terminals_that_are_not_utf8(tmp_path: Path, encoding: str) -> None:
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(20, 8)).astype("f4")
    np.savez(tmp_path / "x.npz", id=np.array([f"c{i}" for i in range(20)]), audio=audio, visual=audio)
    words = ["--features", str(tmp_path / "x.npz"), "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "avbench", "evaluate", "--task", "retrieval", *words],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "R@1" in text
    assert "\\u" not in text


def test_stand_ins_are_readable() -> None:
    code = (
        "from avbench.commands.terminal import printable as p; p().__enter__(); print('a → b ± 0.1 … λ é \u4e2d ╭─╮ §')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    )
    assert done.stdout.decode("ascii").strip() == "a -> b +- 0.1 ... lambda e ? +-+ (s)"

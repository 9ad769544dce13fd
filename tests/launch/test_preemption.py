"""The simulation of preempted jobs at a small size, and that its checks notice what they are for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "preemption.py"
# Does what the script does, with something of avbench replaced before.
BROKEN = """
import runpy, sys
{change}
script = sys.argv.pop(1)
sys.argv[0] = script
sys.path.insert(0, script.rpartition("/")[0])
runpy.run_path(script, run_name="__main__")
"""
pytest.importorskip("submitit")


def simulate(*options: str, change: str = "") -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    script = ["-c", BROKEN.format(change=change), str(SCRIPT)] if change else [str(SCRIPT)]
    return subprocess.run([sys.executable, *script, *options], capture_output=True, text=True, check=False, timeout=300)


def row(table: str, name: str) -> str:
    """The value and the verdict of a row."""
    line = next(line for line in table.splitlines() if line.startswith(f"| {name}"))
    return " ".join(line.strip("| ").replace("|", " ").split()[len(name.split()) :])


def test_every_run_is_done_once_whatever_is_killed() -> None:
    done = simulate("--jobs", "24", "--preemptions", "0.5", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert row(done.stdout, "runs complete") == "24 ok"
    assert row(done.stdout, "records readable") == "18 ok"
    assert int(row(done.stdout, "of them interrupted")) > 0


def test_it_notices_jobs_that_are_submitted_twice(tmp_path: Path) -> None:
    blind = "from avbench.launch import slurm; slurm.active = lambda results: {}"
    # Room for all: the second command of many finds the first one's jobs queued, whatever the machine's speed.
    words = ("--jobs", "16", "--slots", "1", "--queue", "1000", "--keep", str(tmp_path / "kept"))
    done = simulate(*words, change=blind)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in row(done.stdout, "jobs submitted though queued or running")

"""Thirty runs in one process, as a notebook makes them: what a run takes of the machine it gives back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, json, os, sys
import avbench

SMALL = {"data.train_clips": 16, "data.test_clips": 12, "train.batch_size": 8, "train.steps": 2}

def taken():
    gc.collect()
    own = f"/proc/self/task/{os.getpid()}"
    with open("/proc/self/statm") as statm, open(f"{own}/children") as children:
        memory, processes = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), len(children.read().split())
    return [len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), processes, memory]

found = []
for seed in range(30):
    avbench.run("cavmae", "retrieval", seeds=[seed], settings=SMALL, results="results", device="cpu")
    found.append(taken())
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_thirty_runs_take_no_more_than_fifteen(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout.splitlines()[-1])
    assert len(list((tmp_path / "results" / "runs").iterdir())) >= 30
    # What every run kept would be 15 more by then; a thread that is just beginning or ending is nobody's growth.
    *before, memory = found[14]
    *after, memory_after = found[29]
    assert all(late - early < 5 for early, late in zip(before, after, strict=True)), (
        found
    )  # handles, threads, processes
    assert memory_after - memory < 2**25

"""``avbench status`` on what jobs of this machine leave: done, running, failed, stale."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.files import write_json
from avbench.launch import ledger
from avbench.launch.job import Finished, Job
from avbench.launch.status import job_states, read_progress

STARTED = {"method": "cav", "seed": 3, "steps": 100, "batch_size": 64, "host": "h", "process": 1}


def jobs(results: Path, *names: str) -> list[Job]:
    return [Job(n, "run", ("run", n), (f"runs/{n}",), log=results / "logs" / f"{n}.log") for n in names]


def test_each_state_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("done", "running", "failed", "waiting")
    begun = jobs(tmp_path, *names)
    paths = [job.log for job in begun]
    submission = ledger.begin(tmp_path, "local", begun)
    write_json(tmp_path / "runs" / "done" / "record.json", {})
    paths[0].parent.mkdir()
    paths[2].write_text("step 3\navbench: error: the disk is full\n")
    submission.note(Finished(begun[2], 1, 2.0))
    with paths[1].open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = {state.name: state for state in job_states(tmp_path)}
        assert [found[name].state for name in names] == ["done", "running", "failed", "queued"]
        assert found["failed"].detail == "the disk is full"
        assert main(["status", "--results", str(tmp_path)]) == 1
        output = capsys.readouterr().out
        assert output.startswith("1 running, 1 queued, 1 failed, 1 done\n")
        assert f"log: {paths[2]}" in output
    # What started them is gone, and so is the job that ran.
    replace(submission, process=2**22 + 1).write()
    found = {state.name: state for state in job_states(tmp_path)}
    assert [found[name].state for name in names] == ["done", "stale", "failed", "stale"]


def test_what_was_started_again_is_told_once(tmp_path: Path) -> None:
    for status in (1, 0):
        submission = ledger.begin(tmp_path, "local", jobs(tmp_path, "a"))
        submission.note(Finished(jobs(tmp_path, "a")[0], status, 2.0))
    write_json(tmp_path / "runs" / "a" / "record.json", {})
    assert [state.state for state in job_states(tmp_path)] == ["done"]


def test_a_training_that_no_job_stands_for_is_told_with_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "stages" / "pretrain" / "abc"
    write_json(folder / "started.json", STARTED)
    (folder / "metrics.csv").write_text("step,epoch,loss,clips_per_s\n10,1,0.5,100\n20,2,0.25,64\n30,3")
    with (folder / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["status", "--results", str(tmp_path)]) == 0
        line = capsys.readouterr().out.splitlines()[1]
        told = "running cav seed 3 pretrain step 20/100, loss 0.25, 64 clips/s, 1 min 20 s left h"
        assert " ".join(line.split()) == told
    (state,) = job_states(tmp_path)
    assert state.state == "stale"
    assert "the same command resumes it" in state.detail
    write_json(folder / "pruned.json", {"sweep": "lambda_c", "trial": 3, "step": 20})
    (state,) = job_states(tmp_path)
    assert (state.state, state.detail) == ("pruned", "by trial 3 of sweep lambda_c at step 20")
    assert main(["status", "--results", str(tmp_path)]) == 0  # stopped on purpose
    assert capsys.readouterr().out.startswith("1 pruned")
    write_json(folder / "done.json", {})
    assert job_states(tmp_path) == []
    assert read_progress(folder) is None


def test_nothing_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert "no jobs" in capsys.readouterr().out
    assert main(["status", "--results", str(tmp_path), "--format", "json", "--watch"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["status", "--results", str(tmp_path), "--every", "0"]) == 2
    assert "--every: found 0, valid: above 0" in capsys.readouterr().err


def test_a_torn_line_of_what_ended_is_left_out(tmp_path: Path) -> None:
    submission = ledger.begin(tmp_path, "local", jobs(tmp_path, "a"))
    submission.path.with_suffix(".ended").write_text('{"name": "a", "status": 0, "seconds": 1}\n{"name": "b"')
    assert submission.ended() == {"a": 0}
    assert [found.id for found in ledger.submissions(tmp_path)] == [submission.id]

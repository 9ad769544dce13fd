"""Grids and trainings on a real Slurm: arrays with dependencies, preemption, death, a full queue."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from slurm_place import LONG, SMALL, Place, Trained, same, training_processes
from test_container import write_program

from avbench.launch import ledger
from avbench.store.records import all_records

pytestmark = pytest.mark.slurm
ALL_METHODS = {"audiomae", "visualmae", "avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae"}


def test_a_grid_goes_out_as_arrays_that_wait_for_each_other(place: Place) -> None:
    words = ["grid", "--methods", "all", "--tasks", "retrieval", "linear_probe", "--set", *SMALL, "train.steps=2"]
    first = place.run(*words)
    assert first.returncode == 0, first.stderr
    assert "19 jobs submitted in 5 calls" in first.stdout  # 7 pretrainings, 5 retrievals, 7 probes
    again = place.run(*words)
    assert again.returncode == 0
    assert "0 jobs submitted" in again.stdout
    assert "queued or running already" in again.stdout
    scripts = [path.read_text() for path in place.results.glob("jobs/slurm/*_submission.sh")]
    assert sum("--dependency=aftercorr:" in script for script in scripts) == 3
    assert sum("--dependency=" in script for script in scripts) == 3
    place.finish(400)
    assert place.states() == ["done"] * 19
    records = list(all_records(place.results))
    assert {record["method"] for record in records if record["task"] == "linear_probe"} == ALL_METHODS
    assert len(records) == 2 * (5 + 7)  # each with its untrained model
    assert len(list(place.results.glob("stages/pretrain/*/done.json"))) == 7
    jobs = [entry.job for submission in ledger.submissions(place.results) for entry in submission.entries]
    accounted = place.cluster.accounted()
    assert all(accounted[job] == "COMPLETED" for job in jobs)
    table = place.run(*words)
    assert table.returncode == 0
    assert "submitted" not in table.stdout
    assert "retrieval on soundshapes" in table.stdout
    assert "linear_probe on soundshapes" in table.stdout


def test_two_processes_of_a_job_train_as_one_does(undisturbed: dict[int, Trained]) -> None:
    one, two = undisturbed[1].losses, undisturbed[2].losses
    assert len(one) == len(two) == 40
    np.testing.assert_allclose(two[:10], one[:10], rtol=1e-5)
    np.testing.assert_allclose(two, one, rtol=1e-3)  # rounding grows with the steps


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_job_that_is_signalled_goes_on_at_the_very_step(
    place: Place, undisturbed: dict[int, Trained], count: int
) -> None:
    place.profile(processes_per_node=count)
    assert place.pretrain(*LONG, "method.negatives=gathered").returncode == 0
    place.wait(lambda: place.rows() > 3)
    running = place.status()[0]
    assert running["state"] == "running"
    assert running["progress"]["steps"] == 40  # type: ignore[index]
    place.cluster.run("scancel", "--signal=USR2", place.number())  # as before the end of its time
    place.wait(lambda: "training stopped by" in place.log())
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[count].weights)
    (path,) = place.results.glob("stages/pretrain/*/metrics.csv")
    steps = [int(line.split(",")[0]) for line in path.read_text().splitlines()[1:]]
    assert steps == list(range(1, 41))  # none twice, none lost
    assert place.log().count("training stopped by SIGTERM") == 1


@pytest.mark.slow
def test_a_job_that_others_push_out_goes_on(place: Place, undisturbed: dict[int, Trained]) -> None:
    assert place.pretrain(*LONG, "method.negatives=gathered").returncode == 0
    place.wait(lambda: place.rows() > 3)
    place.cluster.submit("sleep 2", "--partition=urgent", "--exclusive")
    place.wait(lambda: "PENDING" in place.queue())
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[1].weights)


def test_a_training_that_is_killed_is_tried_again(place: Place, undisturbed: dict[int, Trained]) -> None:
    assert place.pretrain(*LONG, "method.negatives=gathered").returncode == 0
    place.wait(lambda: place.rows() > 3)
    for process in training_processes(place.results):
        os.kill(process, signal.SIGKILL)
    place.wait(lambda: "queued again after exit status 137" in place.log())
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[1].weights)


@pytest.mark.slow
def test_what_fails_as_often_as_allowed_is_told_with_its_log_and_submitted_again(
    place: Place, undisturbed: dict[int, Trained]
) -> None:
    place.profile(retries=0, processes_per_node=2)
    assert place.pretrain(*LONG, "method.negatives=gathered").returncode == 0
    place.wait(lambda: place.rows() > 3)
    os.kill(training_processes(place.results)[-1], signal.SIGKILL)  # one of two; the other ends by itself
    place.finish()
    (found,) = place.status()
    assert found["state"] == "failed"
    assert "another process of this training has ended" in str(found["detail"]) or "signal 9" in str(found["detail"])
    assert Path(str(found["log"])).is_file()
    again = place.pretrain(*LONG, "method.negatives=gathered")
    assert "1 jobs submitted" in again.stdout
    place.finish()
    assert place.states() == ["done"]
    assert same(place.weights(), undisturbed[2].weights)


def test_a_full_queue_takes_what_it_has_room_for(place: Place) -> None:
    place.profile(qos="short")
    words = ["pretrain", "--method", "cav", "--seeds", *map(str, range(6)), "--set", *SMALL, "train.steps=1"]
    first = place.run(*words)
    assert first.returncode == 1
    assert "failed: the queue is full: 2 jobs were not submitted" in first.stderr
    assert "the same command again submits them" in first.stderr
    jobs = [entry.job for submission in ledger.submissions(place.results) for entry in submission.entries]
    assert len(jobs) == len(set(filter(None, jobs))) == 4
    place.finish()
    second = place.run(*words)
    assert second.returncode == 0, second.stderr
    assert "2 jobs submitted" in second.stdout
    place.finish()
    third = place.run(*words)
    assert third.stdout.count("weights: ") == 6
    assert len(list(place.results.glob("stages/pretrain/*/done.json"))) == 6
    assert place.states() == ["done"] * 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "mian"}, "partition: found 'mian', valid: main, tiny, urgent. Did you mean 'main'?"),
        ({"account": "nobody"}, "sbatch refused the job"),
        ({"nodes": 2}, "sbatch refused the job"),
        ({"processes_per_node": 5}, "train.batch_size: found 16, valid for 5 processes"),
        ({"partitoin": "main"}, "unknown key 'partitoin'. Did you mean 'partition'?"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(place: Place, changes: dict[str, object], message: str) -> None:
    place.profile(**changes)
    done = place.pretrain("train.steps=2", "method.negatives=gathered")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not list(place.results.glob("jobs/*.json"))
    assert not place.queue()


@pytest.mark.slow
def test_a_job_that_is_cancelled_stays_so(place: Place) -> None:
    assert place.pretrain(*LONG).returncode == 0
    place.wait(lambda: place.rows() > 1)
    place.cluster.run("scancel", place.number())
    place.finish()
    time.sleep(1)
    assert not place.queue()
    (found,) = place.status()
    assert found["state"] == "failed"
    assert "cancelled" in str(found["detail"])


@pytest.mark.slow
def test_bad_input_is_not_tried_again(place: Place, tmp_path: Path) -> None:
    weights = tmp_path / "gone.safetensors"
    assert place.pretrain("train.steps=2").returncode == 0
    place.finish()
    (made,) = place.results.glob("stages/pretrain/*/weights.safetensors")
    weights.write_bytes(made.read_bytes())
    place.profile(setup=f"['rm -f {weights}']")
    words = ["run", "--method", "cav", "--checkpoint", str(weights), "--set", *SMALL[:2]]
    assert place.run(*words).returncode == 0
    place.finish()
    assert "no such file" in place.log()
    assert "queued again" not in place.log()
    assert place.states().count("failed") == 1


SWEEP = """summary: weight of the contrastive loss
method: cavmae
task: retrieval
space:
  method.lambda_c: {values: [0.01, 0.1], log: true}
objectives:
  retrieval a2v/R@5: maximize
"""


def test_a_sweep_whose_driver_is_killed_goes_on(place: Place, tmp_path: Path) -> None:
    (tmp_path / "weight.yaml").write_text(SWEEP)
    words = ["sweep", str(tmp_path / "weight.yaml"), "--set", *SMALL, "train.steps=40", "--parallel", "2"]
    driver = place.begin(*words)
    place.wait(lambda: place.rows() > 1)
    driver.kill()
    driver.wait()
    assert place.queue()  # its jobs go on
    done = place.run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == 2 or "0.1" in done.stdout
    jobs = [entry for submission in ledger.submissions(place.results) for entry in submission.entries]
    assert len(jobs) == len({entry.command for entry in jobs}) == 2
    assert len(list(place.results.glob("stages/pretrain/*/done.json"))) == 2
    assert len(list(all_records(place.results))) == 2
    table = (place.results / "sweeps" / "weight" / "trials.csv").read_text()
    assert len(table.splitlines()) == 3


@pytest.mark.slow
def test_videos_are_prepared_by_an_array(place: Place, tmp_path: Path) -> None:
    videos, alone, together = tmp_path / "videos", tmp_path / "alone", tmp_path / "together"
    made = place.run("data", "make", "soundshapes", "--out", str(videos), "--clips", "20", launcher="")
    assert made.returncode == 0, made.stderr
    done = place.run("data", "prepare", str(videos / "labels.csv"), "--out", str(alone), launcher="")
    assert done.returncode == 0, done.stderr
    words = ["data", "prepare", str(videos / "labels.csv"), "--out", str(together), "--jobs", "3"]
    done = place.run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 jobs submitted in 2 calls" in done.stdout
    place.finish()
    assert {path.name: path.read_bytes() for path in (together / "shards").iterdir()} == {
        path.name: path.read_bytes() for path in (alone / "shards").iterdir()
    }
    assert (together / "prepare.json").read_bytes() == (alone / "prepare.json").read_bytes()


def test_jobs_run_in_the_container_of_the_profile(place: Place, tmp_path: Path) -> None:
    """On a real Slurm; a program that executes its arguments stands in Apptainer's place."""
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin")
    (tmp_path / "image.sif").touch()
    record = tmp_path / "record"
    place.profile(
        container=f"'apptainer:{tmp_path}/image.sif'",
        setup=f"['export PATH={tmp_path}/bin:$PATH RECORD={record}']",
    )
    assert place.pretrain("train.steps=2", launcher="").returncode == 0  # prepares the data
    words = ["pretrain", "--method", "cav", "--set", *SMALL, "train.steps=3"]
    planned = place.run(*words, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    shown = planned.stderr.partition("in a container, each like the first: ")[2].splitlines()[0]
    assert not record.exists()
    assert place.run(*words).returncode == 0
    place.finish()
    assert place.states() == ["done"], place.log()
    (given,) = map(json.loads, record.read_text().splitlines())
    assert shlex.split(shown) == ["apptainer", *given]
    assert f"--bind {place.cache}" in shown
    script = next(place.results.glob("jobs/slurm/*submission*.sh")).read_text()
    assert f"export PATH={tmp_path}/bin:$PATH" in script

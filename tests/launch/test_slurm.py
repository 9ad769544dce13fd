"""Grids and trainings on a real Slurm: arrays with dependencies, preemption, death, a full queue."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from slurm_cluster import Cluster
from test_container import write_program

from avbench.launch import ledger
from avbench.store.records import all_records

pytestmark = pytest.mark.slurm
SMALL = ["data.train_clips=32", "data.test_clips=8", "train.batch_size=16", "train.workers=0", "train.threads=1"]
LONG = ["train.steps=40", "train.log_every=1", "train.checkpoint_seconds=600"]
PROFILE = {"partition": "main", "account": "research", "memory_gb": 2, "time": "'0:20:00'", "signal_seconds": 30}
ALL_METHODS = {"audiomae", "visualmae", "avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae"}


class Place:
    """A results folder and a cluster profile, and commands that use them."""

    def __init__(self, cluster: Cluster, cache: Path, folder: Path) -> None:
        self.cluster, self.cache, self.folder = cluster, cache, folder
        self.results = folder / "results"
        self.profile()

    def profile(self, **changes: object) -> None:
        text = "".join(f"{key}: {value}\n" for key, value in {**PROFILE, **changes}.items())
        (self.folder / "here.yaml").write_text(text)

    def run(self, *words: str, launcher: str = "slurm", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        process = self.begin(*words, launcher=launcher, cwd=cwd)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def begin(self, *words: str, launcher: str = "slurm", cwd: Path | None = None) -> subprocess.Popen[str]:
        more = ["--launcher", "slurm", "--cluster", str(self.folder / "here.yaml")] if launcher == "slurm" else []
        if words[0] != "data":
            more += ["--results", str(self.results)]
        return subprocess.Popen(
            [sys.executable, "-m", "avbench", *words, *more],
            env={**os.environ, "AVBENCH_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )

    def pretrain(self, *settings: str, **options: str) -> subprocess.CompletedProcess[str]:
        return self.run("pretrain", "--method", "cav", "--set", *SMALL, *settings, **options)  # type: ignore[arg-type]

    def status(self) -> list[dict[str, object]]:
        done = self.run("status", "--format", "json", launcher="")
        states: list[dict[str, object]] = json.loads(done.stdout)
        return states

    def states(self) -> list[object]:
        return [found["state"] for found in self.status()]

    def wait(self, wanted: Callable[[], object], seconds: float = 240) -> None:
        if not self.cluster.wait(wanted, seconds):
            logs = [f"{path}:\n{path.read_text()[-3000:]}" for path in self.results.glob("jobs/slurm/*.out")]
            raise AssertionError("\n".join([self.cluster.run("squeue"), str(self.status()), *logs]))

    def finish(self, seconds: float = 240) -> None:
        """Waits until the queue is empty."""
        self.wait(lambda: not self.queue(), seconds)

    def queue(self) -> list[str]:
        """The states of the jobs that wait or run."""
        return self.cluster.run("squeue", "--noheader", "--format=%T").split()

    def rows(self) -> int:
        """Rows of the one training's metrics so far."""
        return sum(
            len(path.read_text().splitlines()) - 1 for path in self.results.glob("stages/pretrain/*/metrics.csv")
        )

    def number(self) -> str:
        """The number of the latest job."""
        return list(ledger.submissions(self.results))[-1].entries[0].job

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.results.glob("jobs/slurm/*.out")))

    def weights(self) -> dict[str, np.ndarray]:
        (path,) = self.results.glob("stages/pretrain/*/weights.safetensors")
        return {name: tensor.numpy() for name, tensor in load_file(path).items()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(slurm: Cluster, cache: Path, tmp_path: Path) -> Place:
    return Place(slurm, cache, tmp_path)


@dataclass(frozen=True)
class Trained:
    """What a training left: weights, and the loss of each step."""

    weights: dict[str, np.ndarray]
    losses: list[float]


@pytest.fixture(scope="module")
def undisturbed(slurm: Cluster, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Trained]:
    """The long training where nothing happens to it, by the number of its processes."""
    found = {}
    for count in (1, 2):
        there = Place(slurm, cache, tmp_path_factory.mktemp(f"undisturbed{count}"))
        there.profile(processes_per_node=count)
        done = there.pretrain(*LONG, "method.negatives=gathered")
        assert done.returncode == 0, done.stderr
        there.finish()
        (path,) = there.results.glob("stages/pretrain/*/done.json")
        assert json.loads(path.read_text())["processes"] == count
        with (path.parent / "metrics.csv").open() as table:
            found[count] = Trained(there.weights(), [float(row["loss"]) for row in csv.DictReader(table)])
    return found


def training_processes(results: Path) -> list[int]:
    """The processes that run ``avbench pretrain`` for a results folder, not those that watch over them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "pretrain" in words and str(results) in words and "avbench" in words:
            found.append(int(path.parent.name))
    return sorted(found)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


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

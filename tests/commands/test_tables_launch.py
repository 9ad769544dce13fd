"""``avbench tables --launch``: through the same pools as grids and sweeps, a cluster's included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.launch import queue, schedule, slurm, slurm_pool
from avbench.launch.job import Finished, Job
from avbench.launch.missing import missing
from avbench.launch.planner import shell
from avbench.launch.profile import Profile
from avbench.launch.slurm import Array
from avbench.report.tables import entry

TABLE = ["tables", "table_03", "--data", "soundshapes", "--launch", "--seeds", "0", "--format", "csv"]


class Refusing:
    """A pool in which every job fails."""

    def __init__(self, slots: Sequence[Mapping[str, str]]) -> None:
        self.slots = len(slots)
        self.jobs: list[Job] = []
        began.clear()

    def start(self, jobs: Sequence[Job]) -> None:
        began.extend(jobs)
        self.jobs += jobs

    def ended(self) -> list[Finished]:
        ended, self.jobs = [Finished(job, 1, 0.0) for job in self.jobs], []
        return ended

    def stop(self, job: Job) -> None: ...

    def close(self) -> None: ...


began: list[Job] = []


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_POLL_S", 0.0)
    monkeypatch.setattr("avbench.running.runner.Runner.prepare", lambda self, configs: None)
    monkeypatch.setattr("avbench.launch.planner.records", lambda wanted, runner: [None])


def test_missing_runs_go_through_the_local_pool_and_failures_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("avbench.launch.local.LocalPool", Refusing)
    assert main([*TABLE, "--results", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert f"[{len(began)}/{len(began)}] tables-{len(began)}: failed" in said.err
    assert "failed: tables-1: no output See " in said.err
    assert "table_03.csv  0 of 15 cells measured" in said.out
    assert all(job.arguments[:2] == ("run", "--method") for job in began)
    assert all(job.log.parent == tmp_path / "logs" for job in began)


def test_missing_runs_go_through_the_slurm_pool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[list[Job]] = []

    def take(jobs: Sequence[Job], profile: Profile, results: Path, waits: Sequence[str]) -> Array:
        taken.append(list(jobs))
        return Array(str(len(taken)), tuple(jobs), ())

    def ended(numbers: Sequence[str]) -> dict[str, queue.SlurmJob]:
        return {number: queue.SlurmJob(number, "", "failed", "out of memory") for number in numbers}

    monkeypatch.setattr(queue, "partitions", lambda: ["main"])
    monkeypatch.setattr(queue, "largest_array", lambda: 1000)
    monkeypatch.setattr(queue, "queued", dict)
    monkeypatch.setattr(queue, "ended", ended)
    monkeypatch.setattr(slurm, "active", lambda results: {})
    monkeypatch.setattr(slurm, "_submit_array", take)
    monkeypatch.setattr(slurm_pool, "_POLL_S", 0.0)
    (tmp_path / "here.yaml").write_text("partition: main\n")
    words = [*TABLE, "--launcher", "slurm", "--cluster", str(tmp_path / "here.yaml"), "--jobs", "100"]
    assert main([*words, "--results", str(tmp_path / "results")]) == 1
    assert "failed: tables-1: no output See " in capsys.readouterr().err
    (jobs,) = taken  # one array
    assert all("--precision" in job.arguments and "--device" in job.arguments for job in jobs)


def test_weights_that_go_on_from_others_are_printed_after_them(tmp_path: Path) -> None:
    chains = missing(tmp_path, [entry.load("table_02e")], None)
    assert any([wanted.follows for wanted in chain] == ["", "init", "checkpoint"] for chain in chains)
    lines = shell(chains)
    assert sum(line.startswith("avbench run") for line in lines) == len(chains)
    for number, line in enumerate(lines):
        needed = [word.strip('"$') for word in line.split() if word.startswith('"$')]
        assert all(any(before.startswith(f"{name}=$(") for before in lines[:number]) for name in needed)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--launcher", "slurm"], "--launcher slurm: found it without --launch"),
        (["--launch", "--jobs", "-1"], "--jobs: found -1, valid: at least 0."),
        (["--launch", "--launcher", "slurm", "--cluster", "nowhere"], "--cluster nowhere: no such profile."),
    ],
)
def test_bad_input_starts_nothing(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", *words, "--results", str(tmp_path / "results")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "results").exists()

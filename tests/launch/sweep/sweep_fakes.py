"""A pool whose jobs write what a test says, in place of processes that train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from avbench.launch import planner
from avbench.launch.job import Finished, Job
from avbench.launch.sweep import study as studies
from avbench.launch.sweep import trial as trials
from avbench.launch.sweep.config import Sweep
from avbench.launch.sweep.driver import Driver
from avbench.launch.sweep.file import Changes, read_sweep
from avbench.running.options import ConfigOptions

LAMBDA = "method.lambda_c"


class Killed(BaseException):
    """The driver was killed at this point."""


@dataclasses.dataclass
class World:
    """What outlives a driver: records, weights and progress, and how often each was computed."""

    folder: Path
    score: Callable[[dict[str, str], int], float]
    records: dict[tuple[str, ...], float] = dataclasses.field(default_factory=dict)
    computed: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    fails: Callable[[dict[str, str], int], bool] = lambda settings, seed: False
    course: Callable[[dict[str, str]], list[float]] = lambda settings: []

    def progress(self, words: Sequence[str]) -> Path:
        return self.folder / "progress" / settings_of(words)[LAMBDA] / "metrics.csv"


class FakePool:
    """Ends each job at the second look, and one row of progress a look before."""

    def __init__(self, world: World, slots: int = 2, kill_after: int | None = None) -> None:
        self.world, self.slots, self.kill_after = world, slots, kill_after
        self.running: dict[Job, int] = {}
        self.stopped: list[Job] = []
        self.batches: list[int] = []
        self.most = 0

    def start(self, jobs: Sequence[Job]) -> None:
        self.batches.append(len(jobs))
        self.running |= dict.fromkeys(jobs, 0)
        self.most = max(self.most, len(self.running))

    def ended(self) -> list[Finished]:
        if self.kill_after is not None and len(self.world.computed) >= self.kill_after:
            raise Killed
        found = []
        for job in list(self.running):
            looks = self.running[job] = self.running[job] + 1
            settings, seed = settings_of(job.arguments), seed_of(job.arguments)
            course = self.world.course(settings)
            if job in self.stopped:
                found.append(Finished(job, -15, 0.0))
            elif looks <= len(course):
                path = self.world.progress(job.arguments)
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = [f"{10 * (i + 1)},{value}" for i, value in enumerate(course[:looks])]
                path.write_text("\n".join(["step,contrast", *lines]) + "\n")
            elif self.world.fails(settings, seed):
                job.log.parent.mkdir(parents=True, exist_ok=True)
                job.log.write_text("failed: no room\n")
                found.append(Finished(job, 1, 0.0))
            elif looks > len(course) + 1:
                self.world.computed.append(job.arguments)
                self.world.records[job.arguments] = self.world.score(settings, seed)
                found.append(Finished(job, 0, 0.0))
        for finished in found:
            del self.running[finished.job]
        return found

    def stop(self, job: Job) -> None:
        self.stopped.append(job)

    def close(self) -> None:
        self.running.clear()


def settings_of(words: Sequence[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def seed_of(words: Sequence[str]) -> int:
    return int(words[list(words).index("--seeds") + 1])


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A world whose score is lambda itself, with the driver's eyes on it."""
    world = World(tmp_path, lambda settings, seed: float(settings[LAMBDA]) + seed)

    def records(step: planner.Wanted, _: Any) -> list[dict[str, Any] | None]:
        if step.words not in world.records:
            return [None]
        return [
            {"id": "x", "task": "retrieval", "metrics": {"a2v/R@1": world.records[step.words], "a2v/mean_rank": 1.0}}
        ]

    monkeypatch.setattr(planner, "records", records)
    monkeypatch.setattr(trials, "watched", lambda step, pruner, _: world.progress(step.words))
    monkeypatch.setattr("avbench.launch.schedule._POLL_S", 0.0)
    return world


def sweep_of(folder: Path, changes: Changes | None = None, **values: Any) -> Sweep:
    """A sweep of lambda, judged by retrieval, with these keys of the file changed."""
    content = {
        "summary": "a sweep",
        "method": "cavmae",
        "task": ["retrieval"],
        "space": {LAMBDA: [0.01, 0.1, 1]},
        "objectives": {"retrieval a2v/R@1": "maximize"},
        **values,
    }
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_sweep(path, changes or Changes())


def drive(sweep: Sweep, pool: FakePool, lines: list[str] | None = None) -> tuple[Any, list[str]]:
    """Runs a driver as the command does; returns the study and what failed."""
    folder = pool.world.folder / "sweeps" / sweep.name
    studies.check_unchanged(sweep, folder)
    study = studies.open_study(sweep, folder)
    running = studies.take_up(study, sweep)
    said = [] if lines is None else lines
    driver = Driver(sweep, study, pool, object(), ConfigOptions(), folder, said.append)  # type: ignore[arg-type]
    return study, driver.run(running)

"""Chains of commands in a pool: their order, the weights they hand on, failures, signals, and a cluster's array."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from avbench.errors import Stopped
from avbench.launch import planner, schedule
from avbench.launch.job import Finished, Job
from avbench.launch.planner import Wanted, shell
from avbench.launch.schedule import Chain, Schedule
from avbench.running.options import ConfigOptions


class Instant:
    """A pool whose jobs end at the next look; those of seed 9 fail."""

    slots = 2

    def __init__(self) -> None:
        self.began: list[Job] = []
        self.running: list[Job] = []
        self.closed = False

    def start(self, jobs: Sequence[Job]) -> None:
        self.began += jobs
        self.running += jobs
        assert len(self.running) <= self.slots

    def ended(self) -> list[Finished]:
        ended = [Finished(job, int("9" in job.arguments), 0.0) for job in self.running]
        self.running = []
        return ended

    def stop(self, job: Job) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_POLL_S", 0.0)


def pretrain(method: str, **more: Any) -> Wanted:
    return Wanted(methods=(method,), options=ConfigOptions(), **more)


def run(method: str, **more: Any) -> Wanted:
    return Wanted(methods=(method,), tasks=("retrieval",), options=ConfigOptions(), **more)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Instant:
    """A pool, and looks at the results that find what it has run."""
    pool = Instant()

    def done(wanted: Wanted) -> bool:
        return wanted.words in {job.arguments for job in pool.began if job not in pool.running}

    monkeypatch.setattr(planner, "weights_of", lambda w, _: (tmp_path / f"{w.methods[0]}.safetensors", done(w)))
    monkeypatch.setattr(planner, "records", lambda w, _: [{} if done(w) else None])
    return pool


def test_weights_are_handed_on_shared_and_what_needs_missing_ones_is_left_out(world: Instant, tmp_path: Path) -> None:
    log = tmp_path / "log.log"
    chains = [
        Chain("a", [pretrain("cav"), run("cav", follows="checkpoint")], log),
        Chain("b", [pretrain("cav"), run("avmae", follows="init")], log),
        Chain("c", [pretrain("cavmae", seeds=(9,)), run("cavmae", follows="checkpoint")], log),
    ]
    seen: list[str] = []
    failed = Schedule(world, object()).run(chains, lambda finished: seen.append(finished.job.name))  # type: ignore[arg-type]
    assert [chain.name for chain in failed] == ["c"]
    assert "no output See " in failed[0].error
    words = [" ".join(job.arguments) for job in world.began]
    assert sorted(words) == [
        "pretrain --method cav --seeds 0",
        "pretrain --method cavmae --seeds 9",
        f"run --method avmae --task retrieval --seeds 0 --init {tmp_path}/cav.safetensors",
        f"run --method cav --task retrieval --seeds 0 --checkpoint {tmp_path}/cav.safetensors",
    ]
    assert len(seen) == 4
    assert {job.together for job in world.began if job.arguments[0] == "pretrain"} == {True}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_closes_the_pool_and_begins_nothing_more(
    ending: signal.Signals, world: Instant, tmp_path: Path
) -> None:
    before = signal.getsignal(ending)
    if before is signal.SIG_IGN:
        pytest.skip("started under nohup, where it is ignored")
    reported: list[Finished] = []

    def interrupted(finished: Finished) -> None:
        reported.append(finished)
        signal.raise_signal(ending)

    chains = [Chain(str(seed), [run("cav", seeds=(seed,))], tmp_path / "log.log") for seed in range(5)]
    with pytest.raises(Stopped, match="the same command resumes") as stopped:
        Schedule(world, None).run(chains, interrupted)
    assert stopped.value.signal_number == ending  # what the exit status is made of
    assert world.closed
    assert len(world.began) == 2
    assert signal.getsignal(ending) is before


def test_without_a_look_at_the_results_each_command_is_run_once(world: Instant, tmp_path: Path) -> None:
    chains = [Chain("a", [run("cav"), run("avmae")], tmp_path / "log.log")]
    assert Schedule(world, None).run(chains, lambda _: None) == []
    assert [job.log.name for job in world.began] == ["log-1.log", "log-2.log"]


def test_lines_of_chains_share_the_weights_they_make() -> None:
    chains = [
        [
            pretrain("cav"),
            pretrain("cav", follows="init"),
            run("cav", follows="checkpoint"),
            run("cav", seeds=(1,), follows="checkpoint"),
        ],
        [pretrain("cav"), run("avmae", follows="init")],
    ]
    assert shell(chains) == [
        "W1=$(avbench pretrain --method cav --seeds 0 | sed -n 's/^weights: //p')",
        "W2=$(avbench pretrain --method cav --seeds 0 --init \"$W1\" | sed -n 's/^weights: //p')",
        'avbench run --method cav --task retrieval --seeds 0 --checkpoint "$W2"',
        'avbench run --method cav --task retrieval --seeds 1 --checkpoint "$W2"',
        'avbench run --method avmae --task retrieval --seeds 0 --init "$W1"',
    ]

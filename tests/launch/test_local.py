"""Jobs in parallel: their order and slots, failures, and signals."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from avbench.launch import local
from avbench.launch.job import Finished, Job


@pytest.fixture(autouse=True)
def python_as_avbench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs run a small script in place of ``python -m avbench``: what is under test is how they are started."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "assert sys.argv[1:3] == ['-m', 'avbench']\n"
        "what, value = sys.argv[3:]\n"
        "print('slot', os.environ.get('SLOT', '-'), flush=True)\n"
        "if what == 'fail': print('failed: reasons', file=sys.stderr); sys.exit(int(value))\n"
        "if what == 'die': os.kill(os.getpid(), 9)\n"
        "try: time.sleep(float(value))\n"
        "except KeyboardInterrupt: print('state kept', flush=True); sys.exit(130)\n"
    )
    executable = tmp_path / "python"
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    executable.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(executable))


def job(folder: Path, name: str, *arguments: str) -> Job:
    return Job(name, "run", arguments, log=folder / "logs" / f"{name}.log")


def wait(pool: local.LocalPool, count: int) -> list[Finished]:
    finished: list[Finished] = []
    start = time.monotonic()
    while len(finished) < count:
        finished += pool.ended()
        time.sleep(0.02)
        assert time.monotonic() - start < 30
    return finished


def wait_for(pool: local.LocalPool, count: int) -> dict[str, int]:
    return {done.job.name: done.status for done in wait(pool, count)}


def test_slots_are_shared_out_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "a", "sleep", "0.2"),
        job(tmp_path, "b", "fail", "1"),
        job(tmp_path, "c", "die", "0"),
        job(tmp_path, "d", "sleep", "0"),
    ]
    pool = local.LocalPool([{"SLOT": "x"}, {"SLOT": "y"}])
    pool.start(jobs)
    finished = wait(pool, 4)
    status = {done.job.name: done.status for done in finished}
    assert status == {"a": 0, "b": 1, "c": -9, "d": 0}
    errors = {done.job.name: done.error for done in finished}
    assert errors["a"] == ""
    assert errors["b"].startswith("reasons See ")
    assert errors["c"].startswith("ended by signal 9")
    slots = {name: (tmp_path / "logs" / f"{name}.log").read_text().split()[1] for name in "abcd"}
    assert set(slots.values()) == {"x", "y"}


def test_no_more_jobs_than_slots_at_a_time(tmp_path: Path) -> None:
    jobs = [job(tmp_path, str(i), "sleep", "0.5") for i in range(3)]
    start = time.monotonic()
    pool = local.LocalPool([{}])
    pool.start(jobs)
    wait(pool, 3)
    assert time.monotonic() - start > 1.5


def test_a_pool_stops_one_job_and_goes_on_with_the_others(tmp_path: Path) -> None:
    pool = local.LocalPool([{}, {}])
    long, short, waits, last = (job(tmp_path, name, "sleep", "60") for name in ("long", "short", "waits", "last"))
    last = job(tmp_path, "last", "sleep", "0")
    pool.start([long, short, waits, last])
    assert (pool.slots, pool.busy, pool.ended()) == (2, True, [])
    pool.stop(waits)
    pool.stop(long)
    assert wait_for(pool, 3) == {"waits": -15, "long": -15, "last": 0}
    pool.close()
    assert wait_for(pool, 1) == {"short": -15}
    assert not pool.busy
    assert not (tmp_path / "logs" / "waits.log").exists()


def test_the_process_of_a_pool_that_was_killed_is_waited_for(tmp_path: Path) -> None:
    left = job(tmp_path, "left", "sleep", "1.5")
    first, second = local.LocalPool([{}]), local.LocalPool([{}])
    first.start([left])
    start = time.monotonic()
    second.start([left])
    assert wait_for(second, 1) == {"left": 0}
    assert time.monotonic() - start > 2.5  # one after the other
    assert wait_for(first, 1) == {"left": 0}


def test_a_job_that_waits_for_an_earlier_process_can_be_stopped(tmp_path: Path) -> None:
    left = job(tmp_path, "left", "sleep", "60")
    first, second = local.LocalPool([{}]), local.LocalPool([{}])
    first.start([left])
    second.start([left])
    second.close()
    assert wait_for(second, 1) == {"left": -15}
    assert first.ended() == []
    first.close()

"""A signal ends any part of a command as Ctrl-C does: one line, its own status, nothing half written left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import Fault, give, start
from test_at_once import PATIENCE_S, stopped, wait_for
from test_crash_points import litter, numbers
from test_places import content
from tormented import SMALL, SWEEP, prepare


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_outside_of_training(
    ending: signal.Signals, ready: Callable[[str], list[str]], tmp_path: Path
) -> None:
    if signal.getsignal(ending) is signal.SIG_IGN:
        pytest.skip("started under nohup, where it is ignored")
    words, whole, results = ready("run"), tmp_path / "whole", tmp_path / "results"
    operations = give([*words, "--results", str(whole)], [whole], tmp_path / "whole.told").operations
    stage = "/runs/" if ending == signal.SIGINT else "/stages/vectors/"
    at = next(number for number, text in enumerate(operations) if stage in text and "os.rename" in text)
    process = start([*words, "--results", str(results)], [results], tmp_path / "told", Fault("stop", at))
    wait_for(lambda: stopped(process))
    os.kill(process.pid, ending)
    os.kill(process.pid, signal.SIGCONT)
    process.join(PATIENCE_S)
    told = (tmp_path / "told").read_text()
    assert process.exitcode == 128 + ending, told
    assert told.rstrip().endswith("avbench: interrupted; the same command resumes where it stopped.")
    assert "Traceback" not in told
    assert litter(results) == []
    assert give([*words, "--results", str(results)], [results], tmp_path / "again").status == 0
    assert numbers(results) == numbers(whole)


@pytest.mark.parametrize(("name", "ending"), [("grid", signal.SIGTERM), ("sweep", signal.SIGHUP)])
def test_a_signal_ends_a_driver_and_its_jobs(name: str, ending: signal.Signals, cache: Path, tmp_path: Path) -> None:
    if signal.getsignal(ending) is signal.SIG_IGN:
        pytest.skip("started under nohup, where it is ignored")
    results = tmp_path / "results"
    (tmp_path / "weight.yaml").write_text(SWEEP)
    words = {
        "grid": ["grid", "--methods", "cavmae", "--jobs", "1"],
        "sweep": ["sweep", str(tmp_path / "weight.yaml"), "--parallel", "1"],
    }
    process = start([*words[name], *SMALL, "--results", str(results)], [results], tmp_path / "told")
    wait_for(lambda: bool(list(results.rglob("logs/*.log"))))  # its first job has begun
    os.kill(process.pid, ending)
    process.join(PATIENCE_S)
    told = (tmp_path / "told").read_text()
    assert process.exitcode == 128 + ending, told
    assert told.rstrip().endswith("avbench: interrupted; jobs kept their state, the same command resumes them.")
    assert working_for(results) == []
    assert litter(results) == []


def working_for(folder: Path) -> list[bytes]:
    """Returns the command lines that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if os.fsencode(folder) in line]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT])
def test_clips_that_a_signal_leaves_are_kept_and_the_rest_follows(
    ending: signal.Signals, videos: Path, tmp_path: Path
) -> None:
    if signal.getsignal(ending) is signal.SIG_IGN:
        pytest.skip("started under nohup, where it is ignored")
    whole, out = tmp_path / "whole", tmp_path / "out"
    operations = give(prepare(videos, whole), [whole], tmp_path / "whole.told").operations
    half = next(number for number, text in enumerate(operations) if "000001.json" in text)  # its shard is there
    process = start(prepare(videos, out), [out], tmp_path / "told", Fault("stop", half))
    wait_for(lambda: stopped(process))
    (decoder,) = children(process.pid)
    os.kill(process.pid, ending)
    os.kill(process.pid, signal.SIGCONT)
    process.join(PATIENCE_S)
    told = (tmp_path / "told").read_text()
    assert "Traceback" not in told
    assert not Path(f"/proc/{decoder}").exists()
    if ending == signal.SIGCONT:
        assert process.exitcode == 0, told
    else:
        assert process.exitcode == 128 + ending, told
        assert told.rstrip().endswith("avbench: interrupted; the same command resumes where it stopped.")
        assert not (out / "prepare.json").exists()
        assert litter(out) == []
        kept = (out / "shards" / "000000.tar").stat().st_mtime_ns
        assert give(prepare(videos, out), [out], tmp_path / "again").status == 0
        assert (out / "shards" / "000000.tar").stat().st_mtime_ns == kept
    assert content(out) == content(whole)


def children(process: int) -> list[int]:
    """Returns the numbers of the processes that one has started and that run."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_terminal_that_closes_ends_nothing_under_nohup(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "avbench", "data", "make", "soundshapes", "--clips", "3", "--out", "set"]
    script = 'trap "" HUP; "$@" & kill -HUP $!; wait $!'
    done = subprocess.run(["bash", "-c", script, "-", *words], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "set" / "preview.png").is_file()


def test_signals_are_as_they_were_once_a_command_has_ended() -> None:
    from avbench.cli import main

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    assert main(["list", "tasks"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == before

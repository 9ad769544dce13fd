"""A signal ends any part of a command as Ctrl-C does: one line, its own status, nothing half written left behind."""

from __future__ import annotations

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

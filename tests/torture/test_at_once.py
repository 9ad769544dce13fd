"""Identical commands at the same time compute once, in whatever moment the first one stands still or dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import Fault, give, start
from test_crash_points import numbers
from tormented import COMMANDS

Ready = Callable[[str], list[str]]
PATIENCE_S = 240.0


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def stopped(process: Any) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stand_still_at(operation: str, words: list[str], folder: Path, ending: signal.Signals) -> None:
    """Starts a command that stops at an operation, four more that then have to wait for it, and ends the stop."""
    whole = give([*words, "--results", str(folder / "whole")], [folder / "whole"], folder / "whole.told")
    at = next(number for number, text in enumerate(whole.operations) if operation in text)
    results = folder / "results"
    words = [*words, "--results", str(results)]
    first = start(words, [results], folder / "0.told", Fault("stop", at))
    wait_for(lambda: stopped(first))
    others = [start(words, [results], folder / f"{i}.told") for i in range(1, 5)]
    wait_for(lambda: all("being computed by another process" in told(folder, i) for i in range(1, 5)))
    os.kill(first.pid, ending)
    for process in (first, *others):
        process.join(PATIENCE_S)
    assert [process.exitcode for process in others] == [0] * 4
    assert first.exitcode == (0 if ending == signal.SIGCONT else -ending)
    assert numbers(results) == numbers(folder / "whole")
    # One wrote the record; the others read it, though each had looked for it before there was one.
    wrote = [f"os.rename {results}/runs/." in (folder / f"{i}.told.operations").read_text() for i in range(5)]
    assert sum(wrote) == 1
    assert sum("reused, nothing computed" in told(folder, i) for i in range(5)) == 3 + (ending == signal.SIGCONT)


def told(folder: Path, number: int) -> str:
    path = folder / f"{number}.told"
    return path.read_text() if path.exists() else ""


def test_four_wait_for_an_evaluation_that_stands_still(ready: Ready, tmp_path: Path) -> None:
    stand_still_at("per_sample.npz", ready("run"), tmp_path, signal.SIGCONT)


@pytest.mark.torture
@pytest.mark.parametrize("operation", ["started.json", "weights.safetensors", "ids.json", "per_sample.npz"])
@pytest.mark.parametrize("ending", [signal.SIGCONT, signal.SIGKILL])
def test_four_wait_for_any_stage(operation: str, ending: signal.Signals, ready: Ready, tmp_path: Path) -> None:
    stand_still_at(operation, ready("run"), tmp_path, ending)


@pytest.mark.torture
@pytest.mark.parametrize("name", list(COMMANDS))
def test_five_at_once_twenty_times(name: str, ready: Ready, tmp_path: Path) -> None:
    found = []
    for turn in range(20):
        results = tmp_path / str(turn)
        words = [*ready(name), "--results", str(results)]
        processes = [start(words, [results], tmp_path / f"{turn}-{i}.told") for i in range(5)]
        for process in processes:
            process.join(PATIENCE_S)
        assert [process.exitcode for process in processes] == [0] * 5, turn
        found.append(numbers(results))
    assert all(each == found[0] for each in found)

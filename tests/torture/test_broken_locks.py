"""File systems whose locks fail: no number changes, and the next command alone finds or makes what is whole.

What is promised of them is in docs/results.md, "Several commands in one folder".
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import Ended, Fault, give, start
from test_at_once import stopped, told, wait_for
from test_crash_points import bytes_of, numbers
from test_places import content
from tormented import COMMANDS

from avbench.running.verify import Verification

Ready = Callable[[str], list[str]]
MINUTES = 600.0
TWO = [("a", -MINUTES), ("b", MINUTES)]  # machines, and how fast their clocks are


def at_once(words: list[str], out: Path, place: Path, kind: str) -> list[Ended]:
    """Gives a command on two machines at once, on a file system with a fault."""
    faults = [Fault(kind, host=host, clock_s=fast) for host, fast in TWO]
    processes = [start(words, [out], place / f"{i}.told", fault) for i, fault in enumerate(faults)]
    for process in processes:
        process.join(240)
    return [Ended(process.exitcode, told(place, i), ()) for i, process in enumerate(processes)]


def check(words: list[str], out: Path, place: Path, ended: list[Ended]) -> None:
    """Checks that each ended well or in one line, and gives the command once more, alone."""
    for each in ended:
        assert each.status in (0, 1, 2), each.text
        assert "Traceback" not in each.text
    again = give(words, [out], place / "again.told")
    assert again.status == 0, again.text


def damaged(results: Path) -> list[str]:
    """Returns what is damaged, but for checkpoints of a training that is done: two may have removed each other's."""
    found = Verification(results).problems(data=False)
    return [each for each in found if "Only a training that resumes reads it" not in each]


@pytest.mark.parametrize("kind", ["granted", "ENOLCK"])
def test_two_machines_at_once_whose_locks_keep_nobody_out(kind: str, ready: Ready, tmp_path: Path) -> None:
    words, results = ready("run"), tmp_path / "results"
    give([*words, "--results", str(tmp_path / "whole")], [tmp_path / "whole"], tmp_path / "whole.told")
    words = [*words, "--results", str(results)]
    ended = at_once(words, results, tmp_path, kind)
    check(words, results, tmp_path, ended)
    assert numbers(results) == numbers(tmp_path / "whole")
    assert bytes_of(results) == bytes_of(tmp_path / "whole")
    assert damaged(results) == []
    if kind == "ENOLCK":
        assert all("this file system has no locks; let one command at a time" in each.text for each in ended)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["granted", "ENOLCK", "ENOSYS", "EOPNOTSUPP"])
@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.parametrize("turn", range(5))
def test_two_machines_again_and_again(kind: str, name: str, turn: int, ready: Ready, tmp_path: Path) -> None:
    words, results = ready(name), tmp_path / str(turn)
    give([*words, "--results", str(tmp_path / "whole")], [tmp_path / "whole"], tmp_path / "whole.told")
    words = [*words, "--results", str(results)]
    check(words, results, tmp_path, at_once(words, results, tmp_path, kind))
    assert numbers(results) == numbers(tmp_path / "whole")
    assert damaged(results) == []


@pytest.mark.parametrize("kind", ["granted", "ENOLCK", ""])
def test_one_folder_is_prepared_by_two_machines(kind: str, cache: Path, ready: Ready, tmp_path: Path) -> None:
    ready("run")
    (labels,) = cache.glob("soundshapes-*-8-2-8/labels.csv")
    words = ["data", "prepare", str(labels), "--workers", "1", "--size", "32", "--n-frames", "2", "--out"]
    give([*words, str(tmp_path / "whole")], [tmp_path / "whole"], tmp_path / "whole.told")
    out = tmp_path / "out"
    ended = at_once([*words, str(out)], out, tmp_path, kind)
    check([*words, str(out)], out, tmp_path, ended)
    assert content(out) == content(tmp_path / "whole")
    if not kind:
        assert sorted(each.status for each in ended) in ([0, 0], [0, 2])
        assert all(not each.status or "another 'avbench data prepare' is writing it" in each.text for each in ended)


@pytest.mark.parametrize("times", [1, 3])
def test_what_another_machine_did_is_not_seen_at_first(times: int, ready: Ready, tmp_path: Path) -> None:
    words, results = [*ready("run"), "--results", str(tmp_path / "results")], tmp_path / "results"
    give(words, [results], tmp_path / "first.told", Fault("", host="a", clock_s=MINUTES))
    before, arrays = numbers(results), bytes_of(results)
    ended = give(words, [results], tmp_path / "told", Fault("unseen", times, host="b", clock_s=-MINUTES))
    assert ended.status == 0, ended.text
    assert numbers(results) == before
    assert bytes_of(results) == arrays
    assert list(Verification(results).problems(data=False)) == []


def test_a_lease_of_a_machine_that_vanished_is_waited_for(ready: Ready, tmp_path: Path) -> None:
    results = tmp_path / "results"
    words = [*ready("run"), "--results", str(results)]
    # Its process stands still, as those of a machine that the server has not given up: the lock is still held.
    whole = give([*words[:-1], str(tmp_path / "whole")], [tmp_path / "whole"], tmp_path / "whole.told")
    at = next(number for number, text in enumerate(whole.operations) if "started.json" in text)
    gone = start(words, [results], tmp_path / "0.told", Fault("stop", at, host="gone"))
    try:
        wait_for(lambda: stopped(gone))
        waiting = start(words, [results], tmp_path / "1.told", Fault("", host="b"))
        wait_for(lambda: "is being computed by another process; waiting" in told(tmp_path, 1))
        os.kill(waiting.pid, signal.SIGTERM)  # who waits can be ended
        waiting.join(60)
        assert waiting.exitcode == 128 + signal.SIGTERM
        waiting = start(words, [results], tmp_path / "2.told", Fault("", host="b"))
        wait_for(lambda: "is being computed by another process; waiting" in told(tmp_path, 2))
    finally:
        os.kill(gone.pid, signal.SIGKILL)  # now it has
    waiting.join(240)
    assert waiting.exitcode == 0
    assert list(Verification(results).problems(data=False)) == []

"""Options from words: both names of an option, and what help calls a default that is nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avbench.cli import COMMANDS
from avbench.commands import data as data_commands
from avbench.commands.grid import Command as Grid
from avbench.commands.parse import padded, parse
from avbench.commands.run import Command as Run


def test_methods_and_tasks_have_two_names_everywhere() -> None:
    run = parse(Run, "avbench run", ["--methods", "cav", "cavmae", "--tasks=retrieval"])
    assert (run.method, run.task) == (("cav", "cavmae"), ("retrieval",))
    grid = parse(Grid, "avbench grid", ["--method", "cav", "--task", "retrieval", "linear_probe"])
    assert (grid.methods, grid.tasks) == (("cav",), ("retrieval", "linear_probe"))


def test_options_are_read_as_they_were_typed() -> None:
    run = parse(
        Run, "avbench run", ["--set", "a=1", "b=2", "--set", "c=3", "--checkpoint", "x.pth", "--seeds", "0", "1"]
    )
    assert run.set == (("a=1", "b=2"), ("c=3",))
    assert (str(run.checkpoint), run.seeds, run.data, run.init, run.preset) == ("x.pth", (0, 1), None, "", ())


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("list", "data", "checkpoint")])
def test_help_shows_no_internals(command: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "avbench", command, "--help"], capture_output=True, text=True, check=True
    )
    assert "{None}" not in answer.stdout
    assert "(default: )" not in answer.stdout
    assert "None)" not in answer.stdout
    assert "''" not in answer.stdout


def test_help_of_actions_shows_no_internals(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        data_commands.Prepare.parse("avbench data prepare", ["--help"])
    text = capsys.readouterr().out
    assert "{None}" not in text
    assert "(default: )" not in text


def test_numbers_of_tables_may_lack_a_zero() -> None:
    assert [
        padded(name) for name in ("table_1", "table_2a", "table_01", "table_16", "figure_5", "table_sync_retrieval")
    ] == [
        "table_01",
        "table_02a",
        "table_01",
        "table_16",
        "figure_05",
        "table_sync_retrieval",
    ]

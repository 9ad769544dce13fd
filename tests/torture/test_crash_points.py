"""A command that is killed at any operation on the disk, or told there of a full or broken one, costs no number.

The short form takes every so many operations, with another start for each fault; ``pytest -m torture`` takes all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import Ended, Fault, give
from tormented import COMMANDS

from avbench.running.verify import Verification
from avbench.store.records import all_records

FEW = 16  # operations of the short form
FAULTS = [("kill", False), ("torn", False), ("ENOSPC", True), ("ENOSPC", False), ("EIO", False)]


def numbers(results: Path) -> dict[str, Any]:
    return {record["id"]: (record["metrics"], record.get("ci95")) for record in all_records(results)}


def bytes_of(results: Path) -> dict[str, bytes]:
    """Returns what stages leave for each other, by name."""
    found = [*results.glob("stages/*/*/*.npy"), *results.glob("stages/*/*/*.safetensors")]
    return {str(path.relative_to(results)): path.read_bytes() for path in found}


def litter(results: Path) -> list[str]:
    return [str(path.relative_to(results)) for path in results.rglob(".*") if path.name not in (".lock", ".cache")]


class Torment:
    """One command, the numbers it gives, and how often a fault changed them."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.words, self.folder = words, folder
        whole = self.give("whole")
        assert whole.status == 0, whole.text
        self.operations = whole.operations
        self.numbers, self.bytes = numbers(folder / "whole"), bytes_of(folder / "whole")
        assert self.numbers
        assert len(self.operations) > 50

    def give(self, name: str, fault: Fault | None = None) -> Ended:
        results = self.folder / name
        return give([*self.words, "--results", str(results)], [results], self.folder / f"{name}.told", fault)

    def fails(self, fault: Fault) -> str:
        """Gives the command with a fault and then again; returns what is wrong, or nothing."""
        name = f"{fault.kind}-{fault.at}"
        ended = self.give(name, fault)
        again = self.give(name)
        results = self.folder / name
        wrong = []
        if ended.status in (0, -9, -25) and again.status != 0:
            wrong.append("the command again failed")
        if not -25 <= ended.status <= 2 or "Traceback" in ended.text + again.text:
            wrong.append("a traceback")
        if again.status == 0 and numbers(results) != self.numbers:
            wrong.append("other numbers")
        if again.status == 0 and bytes_of(results) != self.bytes:
            wrong.append("other weights or vectors")
        if again.status != 0:
            wrong.append(f"status {again.status}")
        wrong += [f"left {left}" for left in litter(results)]
        wrong += list(Verification(results).problems(data=False))
        said = f": {ended.text[-300:]} {again.text[-300:]}" if wrong else ""
        return f"{fault} at {self.operations[fault.at]}: {', '.join(wrong)}{said}" if wrong else ""

    def tally(self, faults: list[Fault]) -> list[str]:
        found = [self.fails(fault) for fault in faults]
        wrong = [each for each in found if each]
        print(f"{self.words[0]}: {len(faults) - len(wrong)} of {len(faults)} survived")  # noqa: T201
        return wrong


@pytest.fixture(scope="module")
def torment(ready: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Torment:
    return Torment(ready("run"), tmp_path_factory.mktemp("torment"))


def test_a_few_operations_of_each_fault(torment: Torment) -> None:
    count = len(torment.operations)
    starts = itertools.count(3, 5)
    faults = []
    for (kind, lasting), share in zip(FAULTS, (FEW // 2, 2, 2, 2, 2), strict=True):
        step = count // share
        faults += [Fault(kind, at, lasting) for at in range(next(starts) % step, count, step)]
    assert torment.tally(faults) == []


def test_without_locks_a_command_says_so_and_works(torment: Torment) -> None:
    ended = torment.give("unlocked", Fault("ENOLCK", 0))
    assert ended.status == 0
    assert "this file system has no locks" in ended.text
    assert numbers(torment.folder / "unlocked") == torment.numbers


@pytest.mark.torture
@pytest.mark.parametrize(("kind", "lasting"), FAULTS)
@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_operation(
    name: str,
    kind: str,
    lasting: bool,
    ready: Callable[[str], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    whole = Torment(ready(name), tmp_path_factory.mktemp(name))
    assert whole.tally([Fault(kind, at, lasting) for at in range(len(whole.operations))]) == []

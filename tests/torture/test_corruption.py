"""A file of the program's own that was damaged gives the same number, one line, or is computed again; never another.

The list of files is what small real runs left, so a new kind of file is in it by itself. The short form damages each
once, in another way each; ``pytest -m torture`` damages each in every way.
"""

from __future__ import annotations

import itertools
import logging
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from damage import KINDS, damaged, written
from tormented import FINETUNE, LISTS, RUN

from avbench.cli import main
from avbench.store.records import all_records

# What people read, and no command does; and what TensorBoard writes.
_SHOWN = (".html", ".tex")
_TIMES = re.compile(r"20\d\d-\d\d-\d\d(?: \d\d:\d\d UTC)?|commit \w+")


class Patient:
    """A copy of finished results, in which one file is damaged."""

    def __init__(self, source: Path, place: Path, capsys: Any, caplog: Any) -> None:
        self.source, self.place, self.results = source, place, place / "results"
        self._capsys, self._caplog = capsys, caplog
        self.file = Path()
        self.restore()
        self.lists = [self.listed(words) for words in LISTS]
        self.numbers = self.measured()
        assert self.numbers

    def restore(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.source, self.place, symlinks=True)

    def give(self, words: list[str]) -> tuple[int, str]:
        """Gives a command in this process; an exception that is no refusal goes up."""
        self._capsys.readouterr()
        self._caplog.clear()
        with self._caplog.at_level(logging.INFO, "avbench"):
            status = main([*words, "--results", str(self.results)])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err + self._caplog.text
        return status, captured.out + captured.err + self._caplog.text

    def listed(self, words: list[str]) -> tuple[str, str]:
        """Returns what a listing command shows, and all that it says and writes."""
        _, said = self.give(words)
        pages = [path for path in self.results.rglob("*") if path.suffix in _SHOWN] if words[0] != "status" else []
        shown = "".join(path.read_text() for path in sorted(pages)) + said
        return _TIMES.sub("", shown), shown

    def measured(self) -> dict[str, Any]:
        return {record["id"]: (record["metrics"], record.get("ci95")) for record in all_records(self.results)}

    def damage(self, name: Path, kind: str) -> bool:
        """Damages a file of a fresh copy; False where that changed nothing."""
        self.restore()
        self.file = self.place / name
        before = self.file.read_bytes()
        after = damaged(before, kind, zlib.crc32(f"{name.name} {kind}".encode()))
        self.file.write_bytes(after)
        return before != after

    def wrong(self, name: Path, kind: str) -> Iterator[str]:
        """Yields what a damaged file made of the commands that read it."""
        if not self.damage(name, kind):
            return
        for words, (before, _) in zip(LISTS, self.lists, strict=True):
            after, shown = self.listed(words)
            if after != before and not any(each in shown for each in (name.name, name.parent.name)):
                yield f"{words[0]} shows other things and does not name {name} ({kind})"
        for hidden in (False, True):  # the record stands; or the evaluation reads what stages left
            self.damage(name, kind)
            if hidden and "runs" in name.parts:
                continue
            if hidden:
                (self.results / "runs").rename(self.results / ".runs")
            told = [self.give(words) for words in (RUN, FINETUNE)]
            after = self.measured()
            refused = any(status in (1, 2) and name.name in said for status, said in told)
            if any(after[run] != self.numbers.get(run) for run in after):
                yield f"run gives another number after {name} ({kind})"
            if set(after) != set(self.numbers) and not refused:
                yield f"run gives no number and no reason after {name} ({kind}): {told}"


@pytest.fixture
def patient(finished: Path, tmp_path: Path, capsys: Any, caplog: Any) -> Patient:
    return Patient(finished, tmp_path / "copy", capsys, caplog)


def files(finished: Path) -> list[Path]:
    """Returns one file of each kind, by what it is called and the stage it is of."""
    kinds: dict[tuple[str, str], Path] = {}
    for path in written(finished):
        name = path.relative_to(finished)
        if path.suffix not in _SHOWN:
            kinds.setdefault((name.parts[1], re.sub(r"[0-9a-f]{16}", "", "/".join(name.parts[2:]))), name)
    return list(kinds.values())


def test_every_file_once(finished: Path, patient: Patient) -> None:
    ways, wrong = itertools.cycle(KINDS), []
    names = files(finished)
    assert len(names) > 20
    for name in names:
        wrong += patient.wrong(name, next(ways))
    print(f"{len(names)} damaged files, {len(wrong)} of them wrong")  # noqa: T201
    assert not wrong


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_in_every_way(finished: Path, patient: Patient, kind: str) -> None:
    wrong = [each for name in files(finished) for each in patient.wrong(name, kind)]
    assert not wrong

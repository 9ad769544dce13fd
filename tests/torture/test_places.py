"""Other commands whose disk is full, breaks, or which are killed: a line and no traceback, and then they work again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import Fault, give
from test_crash_points import litter, numbers
from tormented import CLIPS, SMALL, SWEEP, prepare

from avbench.cli import main
from avbench.store.records import all_records

FAULTS = [Fault("kill", 0), Fault("torn", 0), Fault("ENOSPC", 0, lasting=True), Fault("EIO", 0)]
MADE = ("prepare", "make", "features", "export")  # in a folder that is not there yet; others begin with results
#: Commands, and at how many operations each fault comes in the short form.
FEW = {"tables": 2, "archive": 1, "push": 1, "prepare": 2, "make": 1, "export": 1}
LONGER = ("report", "figures", "features", "sweep")  # in seconds for each fault


def content(folder: Path) -> dict[str, bytes]:
    """Returns all files by name, without hidden ones: locks, the index, and what a killed writer of a page left."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if ".cache" not in path.parts}


def trials(results: Path) -> tuple[Any, ...]:
    """Returns what a sweep leaves that has no times in it."""
    found = sorted(results.glob("sweeps/*/trials.csv"))
    return numbers(results), [path.read_bytes() for path in found], litter(results)


class Place:
    """One command, where it writes, and how often a fault there costs something.

    Args:
        words: The command; it writes below ``out``.
        before: What is there before it; None: nothing.
        out: Where it writes.
        told: For what it says.
        kept: What is to be the same after a fault.
    """

    def __init__(
        self,
        words: list[str],
        before: Path | None,
        out: Path,
        told: Path,
        kept: Callable[[Path], Any] = content,
    ) -> None:
        self.words, self.before, self.out, self.told, self.kept = words, before, out, told, kept
        self.fresh()
        whole = give(words, [out], told)
        assert whole.status == 0, whole.text
        self.operations, self.whole = whole.operations, kept(out)

    def fresh(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.out, symlinks=True)

    def fails(self, fault: Fault) -> str:
        """Gives the command with a fault and then again; returns what is wrong, or nothing."""
        self.fresh()
        ended = give(self.words, [self.out], self.told, fault)
        again = give(self.words, [self.out], self.told)
        wrong = ""
        if "Traceback" in ended.text + again.text or not -25 <= ended.status <= 2:
            wrong = "a traceback"
        elif ended.status == 1 and str(self.out) not in ended.text:
            wrong = "names no path"
        elif again.status != 0:
            wrong = "the command again failed"
        elif (kept := self.kept(self.out)) != self.whole:
            wrong = "other results"
            if isinstance(kept, dict):
                wrong += f" {[name for name in kept.keys() | self.whole if kept.get(name) != self.whole.get(name)]}"
        elif "prepare" in self.words and list(self.out.rglob(".*.tmp")):
            wrong = "something left"
        said = f": {ended.text[-400:]} {again.text[-400:]}"
        return f"{fault} at {self.operations[fault.at]}: {wrong}{said}" if wrong else ""

    def tally(self, few: int | None) -> list[str]:
        """Tries each fault at so many operations, at all where ``few`` is None; returns what is wrong."""
        count, found = len(self.operations), []
        for number, fault in enumerate(FAULTS):
            step = 1 if few is None else max(1, count // few)
            for at in range((2 + 3 * number) % step, count, step):
                found.append(self.fails(Fault(fault.kind, at, fault.lasting)))
        wrong = [each for each in found if each]
        print(f"{' '.join(self.words[:2])}: {len(found) - len(wrong)} of {len(found)} survived")  # noqa: T201
        return wrong


@pytest.fixture(scope="module")
def swept(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file of a sweep, and results in which its trials have run, so that only the driver has to write."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "weight.yaml").write_text(SWEEP)
    shutil.copytree(finished / "results", folder / "results", symlinks=True)
    words = ["sweep", str(folder / "weight.yaml"), "--results", str(folder / "results"), *SMALL]
    assert main(words) == 0
    shutil.rmtree(folder / "results" / "sweeps")
    return folder / "weight.yaml", folder / "results"


@pytest.fixture
def place(request: pytest.FixtureRequest, finished: Path, videos: Path, tmp_path: Path) -> Callable[[str], Place]:
    """Returns a command's place by its name."""

    def of(name: str) -> Place:
        out, told, results = tmp_path / "out", tmp_path / "told", finished / "results"
        if name == "sweep":
            sweep, results = request.getfixturevalue("swept")
            return Place(["sweep", str(sweep), *SMALL, "--results", str(out)], results, out, told, trials)
        run = next(record["id"] for record in all_records(results) if record["stages"].get("pretrain"))
        weights = next(results.glob("stages/pretrain/*/weights.safetensors"))
        listed = {
            "push": ["checkpoint", "push", run, "owner/name", "--out", str(out / "pushed")],
            "archive": ["archive", "main", "--out", str(out / "study")],
        }
        made = {
            "prepare": prepare(videos, out),
            "make": ["data", "make", "soundshapes", "--clips", "3", "--workers", "1", "--out", str(out / "set")],
            "export": ["checkpoint", "export", str(weights), "--out", str(out / "weights.pth")],
            "features": [
                *("features", "--method", "cavmae", "--checkpoint", str(weights), "--data", "soundshapes"),
                *("--out", str(out / "features.npz"), "--set", *CLIPS),
            ],
        }
        if name in MADE:
            return Place(made[name], None, out, told)
        return Place([*listed.get(name, [name]), "--results", str(out)], results, out, told)

    return of


@pytest.mark.parametrize("name", FEW)
def test_what_is_written_is_whole_or_not_there(name: str, place: Callable[[str], Place]) -> None:
    assert place(name).tally(FEW[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_pages_figures_and_sweeps_are_the_same_after_a_fault(name: str, place: Callable[[str], Place]) -> None:
    assert place(name).tally(1) == []


@pytest.mark.torture
@pytest.mark.parametrize("name", [*FEW, *LONGER])
def test_every_operation(name: str, place: Callable[[str], Place]) -> None:
    assert place(name).tally(None) == []


def test_nowhere_to_write_temporary_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from avbench import cli

    def full(*_: object) -> int:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp']")

    monkeypatch.setattr(cli, "dispatch", full)
    assert cli.main(["status"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "No usable temporary directory" in told
    assert "make room" in told

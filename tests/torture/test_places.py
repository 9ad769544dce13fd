"""Other commands whose disk is full, breaks, or which are killed: a line and no traceback, and then they work again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faults import Fault, give
from tormented import prepare

FAULTS = [Fault("kill", 0), Fault("torn", 0), Fault("ENOSPC", 0, lasting=True), Fault("EIO", 0)]
FEW = 2  # operations of each fault in the short form


def content(folder: Path) -> dict[str, bytes]:
    """Returns all files by name, without hidden ones: locks, the index, and what a killed writer of a page left."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if ".cache" not in path.parts}


def torment(words: list[str], before: Path | None, out: Path, place: Path, few: int | None) -> list[str]:
    """Gives a command with each fault at some operations, then again; returns what is wrong.

    Args:
        words: The command; it writes below ``out``.
        before: What is there before it; None: nothing.
        out: Where it writes.
        place: For what it says.
        few: How many operations of each fault; None: all.
    """

    def fresh() -> None:
        shutil.rmtree(out, ignore_errors=True)
        if before is not None:
            shutil.copytree(before, out, symlinks=True)

    fresh()
    whole = give(words, [out], place / "whole.told")
    assert whole.status == 0, whole.text
    wanted, count = content(out), len(whole.operations)
    assert count > FEW
    wrong = []
    for number, fault in enumerate(FAULTS):
        step = 1 if few is None else max(1, count // few)
        for at in range((2 + 3 * number) % step, count, step):
            fresh()
            ended = give(words, [out], place / "told", Fault(fault.kind, at, fault.lasting))
            again = give(words, [out], place / "again.told")
            if "Traceback" in ended.text + again.text or not -25 <= ended.status <= 2:
                wrong.append(f"{fault.kind} at {whole.operations[at]}: {ended.text[-400:]} {again.text[-400:]}")
            elif ended.status == 1 and str(out) not in ended.text:
                wrong.append(f"{fault.kind} at {whole.operations[at]} names no path: {ended.text}")
            elif again.status != 0 or content(out).keys() != wanted.keys():
                wrong.append(f"{fault.kind} at {whole.operations[at]}: {again.status} {again.text[-300:]}")
            elif content(out) != wanted:
                changed = [name for name, data in content(out).items() if data != wanted[name]]
                wrong.append(f"{fault.kind} at {whole.operations[at]}: other bytes in {changed}")
            elif words[0] == "data" and list(out.rglob(".*.tmp")):
                wrong.append(f"{fault.kind} at {whole.operations[at]}: something left")
    return wrong


def test_tables_are_written_whole_or_not(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    assert torment(["tables", "--results", str(out)], finished / "results", out, tmp_path, FEW) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "figures"])
def test_a_page_and_figures_are_the_same_bytes_after_a_fault(name: str, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    assert torment([name, "--results", str(out)], finished / "results", out, tmp_path, 1) == []


def test_clips_are_prepared_whole(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert torment(prepare(videos, out), None, out, tmp_path, FEW) == []


@pytest.mark.torture
@pytest.mark.parametrize("name", ["tables", "report", "figures", "prepare"])
def test_every_operation(finished: Path, videos: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    words = prepare(videos, out) if name == "prepare" else [name, "--results", str(out)]
    assert torment(words, None if name == "prepare" else finished / "results", out, tmp_path, None) == []


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

"""What every refusal of bad input has in common, through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.cli import main

RUN = ("run", "--method", "cavmae", "--task", "retrieval", "--dry-run")


def refuse(words: list[str], expected: str, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Runs a command that must be refused: status 2, one printable line, nothing written. Returns the line.

    ``expected`` is of the message of the check that the input was made for, so that no other check hides it.
    """
    before = sorted(folder.rglob("*"))
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("avbench: error: "), err
    assert err.endswith("\n"), err
    assert err[:-1].isprintable(), ascii(err)
    assert len(err) < 2200, err
    assert expected in err, err
    assert sorted(folder.rglob("*")) == before
    return err

"""What may happen to a file that the program wrote, and what its commands then do."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.cli import main
from avbench.store.records import all_records

KINDS = ("empty", "truncated", "random", "nested", "wrong type", "bit")


def damaged(data: bytes, kind: str, seed: int) -> bytes:
    """Returns a file's content after some damage, a function of the seed."""
    draw = np.random.default_rng(seed)
    if kind == "truncated":
        return data[: int(draw.integers(1, max(2, len(data))))]
    if kind == "random":
        return draw.bytes(max(1, len(data)))
    if kind == "wrong type":
        return (b"{}", b"[]", b'"x"\n', b'{"rows": [], "key": 5, "id": {}, "seal": 7}')[int(draw.integers(4))]
    if kind == "bit":
        changed = bytearray(data)
        if changed:
            changed[int(draw.integers(len(data)))] ^= 1 << int(draw.integers(8))
        return bytes(changed)
    return {"empty": b"", "nested": b"[" * 200_000}[kind]


def written(folder: Path) -> list[Path]:
    """Returns every file that a command left, without locks, which are empty, and what TensorBoard writes."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    return [path for path in found if path.parent.name != "tensorboard"]


@dataclass(frozen=True)
class Told:
    """What a command said."""

    status: int
    out: str
    log: str

    @property
    def all(self) -> str:
        return self.out + self.log


class Bench:
    """A copy of finished results, in which a file is damaged and commands are given."""

    def __init__(self, source: Path, place: Path, capsys: pytest.CaptureFixture[str], caplog: Any) -> None:
        shutil.copytree(source, place, symlinks=True)
        self.results, self._capsys, self._caplog = place / "results", capsys, caplog

    def give(self, words: list[str]) -> Told:
        """Gives a command in this process; what is no AvbenchError goes up, as it would end in a traceback."""
        self._capsys.readouterr()
        self._caplog.clear()
        with self._caplog.at_level(logging.INFO, "avbench"):
            status = main([*words, "--results", str(self.results)])
        out, err = self._capsys.readouterr()
        return Told(status, out, err + self._caplog.text)

    def numbers(self) -> dict[str, Any]:
        """Returns the metrics of all records by id."""
        return {record["id"]: (record["metrics"], record.get("ci95")) for record in all_records(self.results)}

    def forget(self) -> None:
        """Hides the records, so that they are computed again from the stages."""
        (self.results / "runs").rename(self.results / ".runs")

"""``avbench bench``: this machine, measured against the plain way of doing the same."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Literal

import tyro

PARTS = ("prepare", "fbank", "loader", "retrieval", "step")
Part = Literal["prepare", "fbank", "loader", "retrieval", "step"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Measures decoding, spectrogram, loader, retrieval and training step, each beside the plain way, as ratios."""

    parts: tyro.conf.Positional[tuple[Part, ...]] = ()
    """What to measure; nothing named: all of it (some minutes)."""

    def execute(self) -> int:
        """Prints one table a part, as soon as it is measured."""
        from avbench.bench.timing import table

        for part in self.parts or PARTS:
            rows = importlib.import_module(f"avbench.bench.{part}").benchmark()
            sys.stdout.write(f"{part}\n{table(rows)}\n\n")
            sys.stdout.flush()
        return 0

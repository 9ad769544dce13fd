"""``avbench bench``: this machine, measured; most of it against the plain way of doing the same."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Literal

import tyro

PARTS = ("prepare", "fbank", "loader", "retrieval", "step", "methods")
Benchmark = Literal["prepare", "fbank", "loader", "retrieval", "step", "methods"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Times decoding, spectrogram, loader, retrieval and training step against plain versions, and every method."""

    parts: tyro.conf.Positional[tuple[Benchmark, ...]] = ()
    """What to measure; nothing named: all of it (some minutes)."""

    def execute(self) -> int:
        """Prints one table a part, as soon as it is measured."""
        from avbench.bench import timing

        for part in self.parts or PARTS:
            module = importlib.import_module(f"avbench.bench.{part}")
            table = getattr(module, "table", timing.table)  # of what it compares, unless it has its own
            sys.stdout.write(f"{part}\n{table(module.benchmark())}\n\n")
            sys.stdout.flush()
        return 0

"""``avbench figures``: the figures of the papers and of sweeps, from the records."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from avbench.commands.parse import padded
from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Command:
    """Draws figures from the records as PNG and PDF, with their values as CSV."""

    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which figures; none: all. See: avbench list figures."""
    data: str | None = None
    """A data set by name; default: every one with records."""
    results: Path = Path("results")
    """Where the records are."""
    out: Path | None = None
    """Where the files go, in a folder for each data set; default: RESULTS/figures."""

    def execute(self) -> int:
        """Draws, and says what was left out and why."""
        from avbench.report.figures.base import save
        from avbench.report.figures.drawn import figures_of
        from avbench.report.records import Records

        out = self.out if self.out is not None else self.results / "figures"
        found = False
        for figure in figures_of(Records(self.results), tuple(map(padded, self.ids)), self.data):
            found = True
            if figure.drawing is None:
                sys.stderr.write(f"left out: {figure.name}: {figure.reason}\n")
                continue
            for path in save(figure.drawing, out / figure.data, figure.name):
                sys.stdout.write(f"{path}\n")
        if not found:
            raise InputError(f"--results {self.results}: found no records; make some with avbench run or avbench grid.")
        return 0

"""``avbench report``: one HTML page of all that a results folder holds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Command:
    """Writes one self-contained HTML page: leaderboard, runs, tables, figures, galleries, the state of the data."""

    results: Path = Path("results")
    """Where the records are."""
    out: Path | None = None
    """The file to write; without it, report.html in the results folder."""
    data: str | None = None
    """Only records of one data set, by name; without it, all."""

    def execute(self) -> int:
        """Writes the page and says where it is."""
        from avbench.report.page.build import write

        out = self.out or self.results / "report.html"
        if out.is_dir():
            raise InputError(f"--out {out}: found a folder, valid: a file such as {out / 'report.html'}.")
        written = write(self.results, out, self.data)
        sys.stdout.write(f"{written.records} runs, {written.size / 1e6:.1f} MB: {out}\n")
        return 0

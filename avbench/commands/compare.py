"""``avbench compare``: what differs between runs, in settings and in metrics."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Command:
    """Compares runs of one task with the first: settings, metrics, paired intervals, p-values raw and corrected."""

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Two or more ids, or their first digits; see: avbench list runs."""
    common_ids: bool = False
    """Recompute all metrics on the samples that all runs share."""
    resamples: int = 1000
    """Resamples of the paired bootstrap."""
    results: Path = Path("results")
    """Where the records are."""
    json: Path | None = None
    """A file to write the whole comparison to, as JSON."""

    def execute(self) -> int:
        """Prints the comparison; warnings go to standard error."""
        from avbench.compare.comparison import compare
        from avbench.compare.run import find
        from avbench.compare.text import render
        from avbench.files import write_json

        if self.resamples < 1:
            raise InputError(f"--resamples: found {self.resamples}, valid: at least 1.")
        runs = [find(self.results, name) for name in self.runs]
        found = compare(runs, common_ids=self.common_ids, resamples=self.resamples)
        for text in found.warnings:
            sys.stderr.write(f"warning: {text}\n")
        sys.stdout.write(f"{render(found)}\n")
        if self.json is not None:
            write_json(self.json, found.to_dict())
        return 0

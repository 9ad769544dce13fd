"""``avbench archive``: the records of a results folder in one small file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from avbench.errors import unknown


@dataclass(frozen=True, kw_only=True)
class Command:
    """Collects records with what tests need of each sample, without weights, in OUT/PART.records.zip.

    Tables, figures, report, compare and list read such archives in a results folder beside what was computed there.
    """

    part: tyro.conf.Positional[str]
    """Its name, such as main."""
    results: Path = Path("results")
    """Where the records are."""
    out: Path = Path("results/study")
    """The folder to write to, a results folder itself; an archive of that name is replaced."""
    methods: tuple[str, ...] = ()
    """Only records of these methods; without, of all."""
    tasks: tuple[str, ...] = ()
    """Only records of these tasks; without, of all."""
    data: tuple[str, ...] = ()
    """Only records of these data sets; without, of all."""

    def execute(self) -> int:
        """Writes the archive and says what is in it."""
        from avbench.compare.archiving import collect
        from avbench.files.paths import check_folder, check_folder_name
        from avbench.store import index
        from avbench.store.archive import SUFFIX

        check_folder_name("PART", self.part)
        check_folder("--out", self.out)
        rows = index.read(self.results).rows
        for option, name in (("methods", "method"), ("tasks", "task"), ("data", "data")):
            wanted, there = getattr(self, option), {getattr(row, name) for row in rows}
            for each in wanted:
                if each not in there:
                    raise unknown(f"{name} of the records", each, sorted(there))
            rows = [row for row in rows if not wanted or getattr(row, name) in wanted]
        path = self.out / f"{self.part}{SUFFIX}"
        size = collect(self.results, rows, path)
        sys.stdout.write(f"{len(rows)} records, {size / 1e6:.2f} MB: {path}\n")
        return 0

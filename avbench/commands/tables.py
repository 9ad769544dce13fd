"""``avbench tables``: the tables of the papers from the records, beside the published numbers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.errors import InputError, unknown

if TYPE_CHECKING:
    from avbench.report.table import Table


@dataclass(frozen=True, kw_only=True)
class Command:
    """Makes tables from the records: LaTeX files, or other formats; what has no record is a dash."""

    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which tables; none: all. See: avbench list tables."""
    format: tuple[Literal["latex", "markdown", "csv", "html", "json", "terminal"], ...] = ("latex",)
    """One or more; terminal goes to standard output, the others into files."""
    data: str | None = None
    """A data set by name, such as soundshapes; without, those of the papers."""
    results: Path = Path("results")
    """Where the records are."""
    out: Path | None = None
    """Where the files go; without, RESULTS/tables, with --data a folder of that name in it."""
    missing: bool = False
    """Print the commands that would fill the empty cells, and nothing else."""
    launch: bool = False
    """Run these commands, one after the other, then make the tables."""
    seeds: tuple[int, ...] = ()
    """Seeds of these commands; none: 0, with --data 0 1 2."""

    def execute(self) -> int:
        """Makes the tables; returns 1 when a run that was launched failed."""
        from avbench.report import entry
        from avbench.report.tables_of import choose, tables_of

        for name in self.ids:
            if name not in entry.names():
                raise unknown("table", name, entry.names())
        if self.data is not None:
            self._check_data(self.data)
        if not self.format:
            raise InputError("--format: found nothing, valid: one or more formats.")
        if self.missing and self.launch:
            raise InputError("--missing prints commands and --launch runs them; give one of them.")
        failed = False
        if self.missing or self.launch:
            from avbench.report.missing import launch, steps

            todo = steps(self.results, choose(self.ids, self.data), self.data, self.seeds)
            if self.missing:
                sys.stdout.write("".join(f"{step}\n" for step in todo))
                return 0
            left = launch(todo)
            failed = bool(left)
            for step in left:
                sys.stderr.write(f"failed: {step}\n")
        tables = tables_of(self.results, self.ids, self.data)
        for name in dict.fromkeys(self.format):
            self._write(tables, name)
        return 1 if failed else 0

    def _check_data(self, data: str) -> None:
        from avbench.data.catalogue.entry import names
        from avbench.report.archive import Archive

        if data not in names() and data not in (known := Archive(self.results).data()):
            raise unknown("data set", data, {*names(), *known})

    def _write(self, tables: list[Table], name: str) -> None:
        from avbench.files import write_text
        from avbench.report import formats

        form = formats.find(name)
        if name == "terminal":
            sys.stdout.write("\n\n".join(form.render(table) for table in tables))
            return
        out = self.out or (self.results / "tables" / self.data if self.data else self.results / "tables")
        for table in tables:
            path = out / f"{table.id}{form.SUFFIX}"
            write_text(path, form.render(table))
            cells = [cell for row in table.body for cell in row.cells if cell.runnable and not cell.covered]
            filled = sum(cell.mean is not None for cell in cells)
            sys.stdout.write(f"{path}  {filled} of {len(cells)} cells measured\n" if cells else f"{path}\n")
        if name == "latex" and not self.ids:
            write_text(out / form.WRAPPER, form.wrapper([f"{table.id}{form.SUFFIX}" for table in tables]))
            sys.stdout.write(f"{out / form.WRAPPER}\n")

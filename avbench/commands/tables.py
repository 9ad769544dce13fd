"""``avbench tables``: the tables of the papers from the records, beside the published numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.commands.launching import (
    check_world,
    elsewhere,
    open_pool,
    open_profile,
    prepared,
    run_chains,
    tell_failed,
)
from avbench.commands.parse import padded
from avbench.errors import InputError, unknown

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.launch.planner import Wanted
    from avbench.report.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class Command:
    """Makes tables from the records, as LaTeX or other formats; cells without a record show a dash."""

    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which tables; default: all. See: avbench list tables."""
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
    """Run these commands, several in parallel where there is room, then make the tables."""
    launcher: Literal["local", "slurm"] = "local"
    """With --launch: where they are run, on this machine or as jobs of a cluster."""
    cluster: str = "default"
    """With --launcher slurm: the cluster profile, a name or a YAML file; see docs/cluster.md."""
    jobs: int = 0
    """With --launch: commands in parallel; 0: one for each GPU, or as many as fit the cores."""
    seeds: tuple[int, ...] = ()
    """Seeds of these commands; none: 0, with --data 0 1 2."""
    cost: bool = False
    """Print the device-hours of each table's runs; with --missing, an estimate for the missing ones."""

    def execute(self) -> int:
        """Makes the tables; returns 1 when a run that was launched failed."""
        from avbench.report.tables import entry
        from avbench.report.tables.tables_of import choose, tables_of

        ids = tuple(map(padded, self.ids))
        for name in ids:
            if name not in entry.names():
                raise unknown("table", name, entry.names())
        if self.data is not None:
            self._check_data(self.data)
        if not self.format:
            raise InputError("--format: found nothing, valid: one or more formats.")
        if self.missing and self.launch:
            raise InputError("--missing prints commands and --launch runs them; give one of them.")
        if self.jobs < 0:
            raise InputError(f"--jobs: found {self.jobs}, valid: at least 0.")
        if self.launcher == "slurm" and not self.launch:
            raise InputError("--launcher slurm: found it without --launch, valid: with --launch.")
        status = 0
        if self.missing or self.launch:
            from avbench.launch.missing import missing
            from avbench.launch.planner import shell

            entries = choose(ids, self.data)
            todo = missing(self.results, entries, self.data, self.seeds)
            if self.missing:
                sys.stdout.write("".join(f"{line}\n" for line in shell(todo)))
                if self.cost:
                    for each in entries:
                        bill = estimate(self.results, missing(self.results, [each], self.data, self.seeds))
                        sys.stdout.write(f"# {each.id}: {bill}\n")
                return 0
            status = self._launch(todo)
        if not self.results.is_dir():
            raise InputError(
                f"--results {self.results}: found no such folder, valid: one with records of avbench run;"
                " avbench tables --missing prints the commands that would fill the tables."
            )
        tables = tables_of(self.results, ids, self.data)
        for name in dict.fromkeys(self.format):
            self._write(tables, name)
        if self.cost:
            self._tell_cost(tables)
        return status

    def _launch(self, todo: Sequence[Sequence[Wanted]]) -> int:
        """Runs the commands, those that cannot be run excepted; returns 1 where one failed."""
        from avbench.launch.planner import shell
        from avbench.launch.schedule import Chain
        from avbench.running.runner import Execution, Runner

        profile = open_profile(self.cluster) if self.launcher == "slurm" else None
        runner = Runner(Execution(results=self.results))
        ready: list[Chain] = []
        unfit: list[Chain] = []
        configs: list[RunConfig] = []
        for number, found in enumerate(todo, 1):
            wanted = list(found)
            if profile is not None:
                wanted = [replace(each, options=elsewhere(each.options, profile)) for each in found]
            name = f"tables-{number}"
            chain = Chain(name, wanted, self.results / "logs" / f"{name}.log")
            sys.stderr.write("".join(f"{name}: {line}\n" for line in shell([wanted])))
            try:
                own = [config for each in wanted for config in each.configs(runner)]
                if profile is None:
                    runner.prepare(own)
                else:
                    pretrainings = [each for each in wanted if not each.tasks]
                    check_world([config for each in pretrainings for config in each.configs(runner)], profile)
                    prepared(runner, own)
            except InputError as error:
                chain.error = str(error)
                unfit.append(chain)
            else:
                ready.append(chain)
                configs += own
        if not ready:
            return tell_failed(unfit)
        pool, settings = open_pool(self.launcher, self.cluster, self.results, "auto", configs, self.jobs)
        for chain in ready:
            chain.wanted = [each.with_settings(settings) for each in chain.wanted]
        return tell_failed([*unfit, *run_chains(ready, pool, runner)])

    def _tell_cost(self, tables: list[Table]) -> None:
        from avbench.launch.cost import spent

        every: dict[str, None] = {}
        for table in tables:
            runs = dict.fromkeys(run_id for row in table.body for cell in row.cells for run_id in cell.run_ids)
            every |= runs
            if runs:
                sys.stdout.write(f"{table.id}: {len(runs)} runs, {spent(self.results, runs):.2f} device-hours\n")
        hours = spent(self.results, every)
        sys.stdout.write(f"all of them: {len(every)} runs, {hours:.2f} device-hours, shared stages counted once\n")

    def _check_data(self, data: str) -> None:
        from avbench.data.catalogue.entry import names
        from avbench.store import index

        if data not in names() and data not in (known := {row.data for row in index.read(self.results).rows}):
            raise unknown("data set", data, {*names(), *known})

    def _write(self, tables: list[Table], name: str) -> None:
        from avbench.files import write_text
        from avbench.report.tables import formats

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
            write_text(out / form.WRAPPER, form.wrapper(tables))
            sys.stdout.write(f"{out / form.WRAPPER}\n")


def estimate(results: Path, todo: Sequence[Sequence[Wanted]]) -> str:
    """Returns what commands that have not run would take, as one line; those of data that are not here are counted."""
    from avbench.launch.cost import Bill, Costs
    from avbench.running.runner import Execution, Runner

    runner, bill, unknown = Runner(Execution(results=results)), Bill(Costs(results)), 0
    commands = dict.fromkeys(tuple(chain[: length + 1]) for chain in todo for length in range(len(chain)))
    for *before, last in commands:
        try:
            if before or not last.tasks:
                raise InputError("weights that are not made yet")
            configs = last.configs(runner)
            if not all(source.ready for config in configs for source in runner.sources(config)):
                raise InputError("data that are not prepared")
            for config in configs:
                bill.add(runner.plans(config)[-1])
        except InputError:
            unknown += 1
    rest = f"; {unknown} commands need data or weights that are not here yet" if unknown else ""
    return f"{bill}{rest}" if unknown < len(commands) or not todo else rest.removeprefix("; ")

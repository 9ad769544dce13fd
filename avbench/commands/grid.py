"""``avbench grid``: every method with every task and seed; what is done is skipped."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from avbench.commands.launching import LauncherOptions, fitting, launch, run_chains, tell_failed
from avbench.errors import InputError
from avbench.launch.grid import ALL
from avbench.recipes.recipe import METHOD
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.launch.grid import Cells
    from avbench.launch.schedule import Chain
    from avbench.running.runner import Runner


@dataclass(frozen=True, kw_only=True)
class Command(LauncherOptions, ConfigOptions):
    """Runs every combination of methods, tasks and seeds, and prints a table for each task."""

    methods: tuple[str, ...] = (ALL,)
    """Methods, or all; with --recipe, the recipe's own."""
    tasks: tuple[str, ...] = ("retrieval",)
    """Tasks, or all."""
    seeds: tuple[int, ...] = (0,)
    """Every method is trained once for each."""
    jobs: int = 0
    """Runs in parallel; 0: one for each GPU, or as many as fit the cores."""
    list: bool = False
    """With --dry-run: every run with its stages and ids, in place of the summary."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output; json: the records."""

    def execute(self) -> int:
        """Runs or submits the grid; returns 1 when a run failed, after the others went on."""
        from avbench.launch.grid import expand

        if self.list and not self.dry_run:
            raise InputError("--list: found it without --dry-run, valid: with --dry-run.")
        if self.jobs < 0:
            raise InputError(f"--jobs: found {self.jobs}, valid: at least 0.")
        cells = expand(self._chosen(), self.tasks)
        for text in cells.left_out:
            sys.stderr.write(f"left out: {text}\n")
        if self.on_cluster:
            if self.jobs:
                raise InputError("--jobs: valid with --launcher local; a cluster profile has array_parallelism.")
            asked = [((method,), tasks, self.seeds) for method, tasks in cells.tasks.items()]
            runner, configs, status = launch(self, self, asked, lenient=ALL in self.tasks)
            if status is not None:
                return status
            return self._tell(runner, configs)
        return self._local(cells)

    def _chosen(self) -> tuple[str, ...]:
        """Returns the methods that are asked for."""
        named = self.recipe and METHOD not in self.recipe
        return self.methods_of(()) if named and self.methods == (ALL,) else self.methods

    def _local(self, cells: Cells) -> int:
        from avbench.running.runner import Execution, Runner
        from avbench.training.device import resolve_device

        device = resolve_device(self.device)
        runner = Runner(Execution(results=self.results, device=device, force=self.force))
        asked = [
            config
            for method, tasks in cells.tasks.items()
            for config in runner.resolve_all(
                self.requests((method,), tasks, tuple(dict.fromkeys(self.seeds))),
                planning=self.dry_run,
                lenient=ALL in self.tasks,
            )
        ]
        configs = fitting(runner, asked, planning=self.dry_run, lenient=ALL in self.tasks)
        if self.dry_run:
            return self._tell(runner, configs)
        groups: dict[tuple[str, int], list[RunConfig]] = {}
        for config in configs:
            groups.setdefault((config.method_name, config.seed), []).append(config)
        todo = {key: group for key, group in groups.items() if self.force or not all(map(runner.is_done, group))}
        failed = self._run(runner, todo, device)
        self._tell(runner, configs)
        return tell_failed(failed)

    def _tell(self, runner: Runner, configs: Sequence[RunConfig]) -> int:
        """Prints the plan, or the records there are."""
        from avbench.commands import outline
        from avbench.commands.run import print_records

        if self.dry_run:
            sys.stdout.write(outline.show(runner, configs, self.format, summary=not self.list))
            if self.format == "table" and not self.list:
                sys.stdout.write("--list shows every run with its stages and ids\n")
        else:
            print_records(
                [record for config in configs for record in runner.recorded(config)], self.format, self.results
            )
        return 0

    def _run(
        self, runner: Runner, groups: Mapping[tuple[str, int], Sequence[RunConfig]], device: str
    ) -> Sequence[Chain]:
        """Runs one job for each method and seed, and returns those that failed."""
        from avbench.launch import ledger, planner
        from avbench.launch.local import LocalPool
        from avbench.launch.schedule import Chain
        from avbench.launch.slots import local_slots

        if not groups:
            sys.stderr.write("everything is done already; --force computes it again\n")
            return []
        slots, extra = local_slots(device, [config for group in groups.values() for config in group], self.jobs)
        chains, jobs = [], []
        for (method, seed), group in groups.items():
            wanted = planner.Wanted(
                methods=(method,),
                tasks=tuple(config.task_name for config in group),
                seeds=(seed,),
                options=self,
                more=("--force",) if self.force else (),
            ).with_settings(extra)
            chain = Chain(f"{method} seed {seed}", [wanted], self.results / "logs" / f"{method}-seed{seed}.log")
            chains.append(chain)
            jobs.append(planner.job_of(wanted, chain.name, chain.log, runner, group))
        submission = ledger.begin(self.results, "local", jobs)
        return run_chains(chains, LocalPool(slots), None, note=submission.note)

"""``avbench grid``: every method with every task and seed; what is done is skipped."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from avbench.commands.launching import LauncherOptions, launch, run_chains, tell_failed
from avbench.errors import InputError
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.launch.grid import Cells
    from avbench.launch.schedule import Chain
    from avbench.running.runner import Runner


@dataclass(frozen=True, kw_only=True)
class Command(LauncherOptions, ConfigOptions):
    """Runs every combination of methods, tasks and seeds, and prints a table for each task."""

    methods: tuple[str, ...] = ("all",)
    """Methods, or all."""
    tasks: tuple[str, ...] = ("retrieval",)
    """Tasks, or all."""
    seeds: tuple[int, ...] = (0,)
    """Every method is trained once for each."""
    jobs: int = 0
    """Runs in parallel; 0: one for each GPU, or as many as fit the cores."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output; json: the records."""

    def execute(self) -> int:
        """Runs or submits the grid; returns 1 when a run failed, after the others went on."""
        from avbench.launch.grid import expand

        if self.jobs < 0:
            raise InputError(f"--jobs: found {self.jobs}, valid: at least 0.")
        cells = expand(self.methods, self.tasks)
        for text in cells.left_out:
            sys.stderr.write(f"left out: {text}\n")
        if self.on_cluster:
            if self.jobs:
                raise InputError("--jobs: valid with --launcher local; a cluster profile has array_parallelism.")
            asked = [((method,), tasks, self.seeds) for method, tasks in cells.tasks.items()]
            runner, configs, status = launch(self, self, asked)
            if status is not None:
                return status
            return self._tell(runner, configs)
        return self._local(cells)

    def _local(self, cells: Cells) -> int:
        from avbench.running.runner import Execution, Runner
        from avbench.training.device import resolve_device

        device = resolve_device(self.device)
        runner = Runner(Execution(results=self.results, device=device, force=self.force))
        groups = {
            (method, seed): runner.resolve_all(self.requests((method,), tasks, (seed,)), planning=self.dry_run)
            for method, tasks in cells.tasks.items()
            for seed in dict.fromkeys(self.seeds)
        }
        configs = [config for group in groups.values() for config in group]
        if self.dry_run:
            return self._tell(runner, configs)
        runner.prepare(configs)
        todo = {key: group for key, group in groups.items() if self.force or not all(map(runner.is_done, group))}
        failed = self._run(runner, todo, device)
        self._tell(runner, configs)
        return tell_failed(failed)

    def _tell(self, runner: Runner, configs: list[RunConfig]) -> int:
        """Prints the plan, or the records there are."""
        from avbench.commands import outline
        from avbench.commands.run import print_records

        if self.dry_run:
            sys.stdout.write(outline.show(runner, configs, self.format))
        else:
            print_records([record for config in configs for record in runner.recorded(config)], self.format)
        return 0

    def _run(self, runner: Runner, groups: Mapping[tuple[str, int], list[RunConfig]], device: str) -> list[Chain]:
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

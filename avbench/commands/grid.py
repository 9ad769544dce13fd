"""``avbench grid``: every method with every task and seed; what is done is skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from avbench.commands.options import ConfigOptions
from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.launch.job import Finished, Job
    from avbench.resolve import RunConfig
    from avbench.runner import Runner


@dataclass(frozen=True, kw_only=True)
class Command(ConfigOptions):
    """Runs every combination of methods, tasks and seeds, and prints a table for each task."""

    methods: tuple[str, ...] = ("all",)
    """Methods, or all."""
    tasks: tuple[str, ...] = ("retrieval",)
    """Tasks, or all."""
    seeds: tuple[int, ...] = (0,)
    """Every method is trained once for each."""
    jobs: int = 0
    """Runs beside each other; 0: one for each GPU, or as many as the cores have room for."""
    launcher: Literal["local"] = "local"
    """Where runs are started."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output; json: the records."""
    dry_run: bool = False
    """Print the plan (stages, ids, what is reused, work) and write nothing."""
    force: bool = False
    """Compute again what is done already."""

    def execute(self) -> int:
        """Runs the grid; returns 1 when a run failed, after the others went on."""
        from avbench.commands.run import print_records
        from avbench.launch.grid import expand
        from avbench.runner import Execution, Runner
        from avbench.training.device import resolve_device

        if self.jobs < 0:
            raise InputError(f"--jobs: found {self.jobs}, valid: at least 0.")
        cells = expand(self.methods, self.tasks)
        for text in cells.left_out:
            sys.stderr.write(f"left out: {text}\n")
        device = resolve_device(self.device)
        runner = Runner(Execution(results=self.results, device=device, force=self.force))
        groups = {
            (method, seed): runner.resolve_all(self.requests((method,), tasks, (seed,)))
            for method, tasks in cells.tasks.items()
            for seed in dict.fromkeys(self.seeds)
        }
        configs = [config for group in groups.values() for config in group]
        if self.dry_run:
            sys.stdout.write(runner.describe(configs) + "\n")
            return 0
        runner.prepare(configs)
        todo = {key: group for key, group in groups.items() if self.force or not all(map(runner.is_done, group))}
        failed = self._run(runner, todo, device)
        records = [record for config in configs for record in runner.recorded(config)]
        print_records(records, self.format)
        for finished in failed:
            sys.stderr.write(f"failed: {finished.job.name}: {finished.error}\n")
        return 1 if failed else 0

    def _run(self, runner: Runner, groups: Mapping[tuple[str, int], list[RunConfig]], device: str) -> list[Finished]:
        """Runs one job for each method and seed, and returns those that failed."""
        from avbench.launch.local import run_jobs

        if not groups:
            sys.stderr.write("everything is done already; --force computes it again\n")
            return []
        slots, extra = self._slots(device, [config for group in groups.values() for config in group])
        jobs = [self._job(method, seed, group, extra) for (method, seed), group in groups.items()]
        count = 0

        def report(finished: Finished) -> None:
            nonlocal count
            count += 1
            minutes, seconds = divmod(round(finished.seconds), 60)
            outcome = "failed" if finished.status else "done"
            sys.stderr.write(f"[{count}/{len(jobs)}] {finished.job.name}: {outcome} in {minutes} min {seconds} s\n")

        sys.stderr.write(f"{len(jobs)} jobs, {len(slots)} at a time; their output is in {jobs[0].log.parent}\n")
        return [finished for finished in run_jobs(jobs, slots, report) if finished.status]

    def _job(self, method: str, seed: int, group: list[RunConfig], extra: list[str]) -> Job:
        from avbench.launch.job import Job

        tasks = [config.task_name for config in group]
        words = ["run", "--method", method, "--task", *tasks, "--seeds", str(seed), *self.arguments()]
        if extra:
            words += ["--set", *extra]
        if self.force:
            words.append("--force")
        name = f"{method} seed {seed}"
        return Job(name, tuple(words), self.results / "logs" / f"{method}-seed{seed}.log")

    def _slots(self, device: str, configs: list[RunConfig]) -> tuple[list[dict[str, str]], list[str]]:
        """Returns the environment of each job that may run at a time, and settings that share the cores among them."""
        import torch

        if device == "cuda":
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
            count = self.jobs or len(names)
            return [{"CUDA_VISIBLE_DEVICES": names[i % len(names)]} for i in range(count)], []
        from avbench.data.pool import core_count

        cores = core_count()
        threads = max(config.train.threads or cores for config in configs)
        count = self.jobs or max(1, cores // threads)
        share: dict[str, Any] = {}
        if count > 1 and any(config.train.threads == 0 for config in configs):
            share["train.threads"] = max(1, cores // count)
        # Also for what is not training: threads that wait for a core of another job's would only turn.
        allowed = min(max(1, cores // count), torch.get_num_threads())
        return [{"OMP_NUM_THREADS": str(allowed)}] * count, [f"{key}={value}" for key, value in share.items()]

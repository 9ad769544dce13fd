"""``avbench sweep``: one thing or several varied, as the papers' ablations do; resumes, prunes, plots."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.commands.launching import elsewhere, open_pool, open_profile, prepared
from avbench.errors import InputError
from avbench.running.options import ConfigOptions, Words

if TYPE_CHECKING:
    import optuna

    from avbench.launch.sweep.config import Params, Sweep


@dataclass(frozen=True, kw_only=True)
class Command:
    """Runs the trials of a sweep, prints their table and draws their plots; the same command resumes it."""

    file: tyro.conf.Positional[str]
    """A YAML file, or the name of a built-in sweep such as lambda_c; see docs/sweeps.md."""
    data: str | None = None
    """Data other than the file's; its section for that data applies."""
    preset: tuple[str, ...] = ()
    """Named configurations over those of the file."""
    init: str = ""
    """Weights to start pretraining from."""
    set: Words = ()
    """Settings of every trial: train.steps=20 data.train_clips=64."""
    seeds: tuple[int, ...] = ()
    """Each trial is run once for each; none: the file's."""
    trials: int | None = None
    """Number of trials; for a grid, only the first ones."""
    parallel: int | None = None
    """Jobs in parallel; 0: one for each GPU, or as many as fit the cores."""
    name: str = ""
    """Name of the sweep's folder in the results; none: the file's name, followed by --data where given."""
    launcher: Literal["local", "slurm"] = "local"
    """Where jobs are started: on this machine, or as jobs of a cluster."""
    cluster: str = "default"
    """With --launcher slurm: the cluster profile, a name or a YAML file; see docs/cluster.md."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: the GPU if there is one."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto: as avbench run takes it."""
    results: Path = Path("results")
    """Where records, weights and the sweep's folder go."""
    dry_run: bool = False
    """Print the trials' commands and write nothing."""

    def execute(self) -> int:
        """Runs the sweep; returns 1 when a trial failed, after the others went on."""
        from avbench.launch.sweep.config import find
        from avbench.launch.sweep.file import Changes, read_sweep
        from avbench.launch.sweep.study import suggestions

        for option, number, least in (("--trials", self.trials, 1), ("--parallel", self.parallel, 0)):
            if number is not None and number < least:
                raise InputError(f"{option}: found {number}, valid: at least {least}.")
        path = find(self.file)
        changes = Changes(
            data=self.data,
            name=self.name,
            preset=self.preset,
            init=self.init,
            sets=tuple(text for group in self.set for text in group),
            seeds=self.seeds,
            trials=self.trials,
            parallel=self.parallel,
        )
        sweep = read_sweep(path, changes)
        common = ConfigOptions(results=self.results, device=self.device, precision=self.precision)
        if self.launcher == "slurm":
            common = elsewhere(common, open_profile(self.cluster))
        if self.dry_run:
            self._describe(sweep, common, suggestions(sweep))
            return 0
        return self._run(sweep, common, path)

    def _describe(self, sweep: Sweep, common: ConfigOptions, points: Sequence[Params]) -> None:
        """Prints the commands of the trials that are known."""
        from avbench.launch.sweep.trial import commands, named, not_ready

        for number, params in enumerate(points):
            sys.stdout.write(f"# trial {number}: {named(params)}\n")
            sys.stdout.write("".join(f"{line}\n" for line in commands(sweep, params, common)))
        if sweep.sampler.name != "grid" and len(points) < sweep.trials:
            sys.stdout.write(f"# {sweep.trials - len(points)} more trials follow from what these find\n")
        for text in not_ready(sweep, common, self.file):
            sys.stderr.write(f"not ready: {text}\n")

    def _run(self, sweep: Sweep, common: ConfigOptions, path: Path) -> int:
        from avbench.launch.sweep import study as studies
        from avbench.launch.sweep.driver import Driver
        from avbench.launch.sweep.trial import check
        from avbench.processes import locked

        folder = self.results / "sweeps" / sweep.name

        def refuse() -> None:
            raise InputError(f"{folder}: another driver is running this sweep; wait for it or stop it.")

        runner, configs = check(sweep, common, str(path))
        if (folder / studies.DESCRIPTION).exists():
            studies.check_unchanged(sweep, folder)
        if self.launcher == "slurm":
            prepared(runner, configs)
        else:
            runner.prepare(configs)
        with locked(folder, refuse):
            studies.check_unchanged(sweep, folder)
            study = studies.open_study(sweep, folder)
            running = studies.take_up(study, sweep)
            pool, settings = open_pool(self.launcher, self.cluster, self.results, self.device, configs, sweep.parallel)
            common = dataclasses.replace(common, set=(tuple(settings),))
            driver = Driver(sweep, study, pool, runner, common, folder, _say)
            _say(f"{sweep.name}: {sweep.summary}; {pool.slots} jobs at a time, in {folder}")
            failed = driver.run(running)
            self._finish(study, sweep, dataclasses.replace(common, set=()), folder)
        for text in failed:
            sys.stderr.write(f"failed: {text}\n")
        return 1 if failed else 0

    def _finish(self, study: optuna.Study, sweep: Sweep, common: ConfigOptions, folder: Path) -> None:
        """Prints the table, and writes it and the plots."""
        from avbench.launch.sweep.plots import write_plots
        from avbench.launch.sweep.show import frame, render, results, write_csv
        from avbench.launch.sweep.trial import commands

        found = results(study, sweep)
        sys.stdout.write(f"\n{render(sweep, found)}\n\n")
        lines = ["; ".join(commands(sweep, row.params, common)) for row in found]
        write_csv(folder / "trials.csv", frame(sweep, found, lines))
        sys.stdout.write(f"table: {folder / 'trials.csv'}\n")
        for written in write_plots(study, sweep, found, folder):
            if isinstance(written, str):
                sys.stdout.write(f"no {written}\n")
            elif written.suffix == ".png":
                sys.stdout.write(f"plot: {written}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")

"""``avbench sweep``: one thing or several varied, as the papers' ablations do; resumes, prunes, plots."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.commands.launching import elsewhere, open_profile, prepared
from avbench.commands.options import ConfigOptions, Words
from avbench.errors import InputError

if TYPE_CHECKING:
    import optuna

    from avbench.config import RunConfig
    from avbench.launch.pool import Pool
    from avbench.launch.sweep import Params, Sweep
    from avbench.launch.trial import Step
    from avbench.running.runner import Runner


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
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto: bf16 (or fp16) on a GPU, fp32 on a CPU."""
    results: Path = Path("results")
    """Where records, weights and the sweep's folder go."""
    dry_run: bool = False
    """Print the trials' commands and write nothing."""

    def execute(self) -> int:
        """Runs the sweep; returns 1 when a trial failed, after the others went on."""
        from avbench.launch.study import suggestions
        from avbench.launch.sweep import find
        from avbench.launch.sweep_file import Changes, read_sweep

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
        from avbench.launch.driver import named
        from avbench.launch.trial import commands

        for number, params in enumerate(points):
            sys.stdout.write(f"# trial {number}: {named(params)}\n")
            sys.stdout.write("".join(f"{line}\n" for line in commands(sweep, params, common)))
        if sweep.sampler.name != "grid" and len(points) < sweep.trials:
            sys.stdout.write(f"# {sweep.trials - len(points)} more trials follow from what these find\n")
        for text in check_settings(sweep, common, self.file):
            sys.stderr.write(f"not ready: {text}\n")

    def _run(self, sweep: Sweep, common: ConfigOptions, path: Path) -> int:
        from avbench.launch import study as studies
        from avbench.launch.driver import Driver
        from avbench.processes import locked

        folder = self.results / "sweeps" / sweep.name

        def refuse() -> None:
            raise InputError(f"{folder}: another driver is at this sweep; wait for it or stop it.")

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
            pool, settings = self._pool(sweep, configs)
            driver = Driver(sweep, study, pool, runner, with_settings(common, settings), folder, _say)
            _say(f"{sweep.name}: {sweep.summary}; {pool.slots} jobs at a time, in {folder}")
            try:
                failed = driver.run(running)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    "interrupted; jobs kept their state, and the same command resumes the same trials."
                ) from None
            self._finish(study, sweep, common, folder)
        for text in failed:
            sys.stderr.write(f"failed: {text}\n")
        return 1 if failed else 0

    def _pool(self, sweep: Sweep, configs: Sequence[RunConfig]) -> tuple[Pool, list[str]]:
        """Returns where jobs run, and settings that share the machine among them."""
        from avbench.launch.local import LocalPool
        from avbench.launch.profile import find_profile
        from avbench.launch.slots import local_slots
        from avbench.launch.slurm_pool import SlurmPool
        from avbench.training.device import resolve_device

        if self.launcher == "slurm":
            return SlurmPool(find_profile(self.cluster), self.results, sweep.parallel), []
        slots, settings = local_slots(resolve_device(self.device), configs, sweep.parallel)
        return LocalPool(slots), settings

    def _finish(self, study: optuna.Study, sweep: Sweep, common: ConfigOptions, folder: Path) -> None:
        """Prints the table, and writes it and the plots."""
        from avbench.launch.sweep_plots import write_plots
        from avbench.launch.sweep_table import frame, render, rows, write_csv
        from avbench.launch.trial import commands

        found = rows(study, sweep)
        sys.stdout.write(f"\n{render(sweep, found)}\n\n")
        lines = ["; ".join(commands(sweep, row.params, common)) for row in found]
        write_csv(folder / "trials.csv", frame(sweep, found, lines))
        sys.stdout.write(f"table: {folder / 'trials.csv'}\n")
        for written in write_plots(study, sweep, found, folder):
            if isinstance(written, str):
                sys.stdout.write(f"no {written}\n")
            elif written.suffix == ".png":
                sys.stdout.write(f"plot: {written}\n")


def check(sweep: Sweep, common: ConfigOptions, path: str) -> tuple[Runner, list[RunConfig]]:
    """Resolves what trials compute, before any begins: all of a grid, else the ends of what is drawn from.

    Raises:
        InputError: A trial could not be run; the message says which.
    """
    from avbench.running.runner import Execution, Runner

    runner = Runner(Execution(results=common.results))  # which looks things up and computes nothing
    configs: list[RunConfig] = []
    for name, step in _steps(sweep, common):
        try:
            configs += step.configs(runner)
        except InputError as error:
            raise InputError(f"{path}: trial {name}: {error}") from None
    return runner, configs


def check_settings(sweep: Sweep, common: ConfigOptions, path: str) -> list[str]:
    """Resolves the settings of trials alone; returns what data are missing, each once.

    Raises:
        InputError: A trial has settings that cannot be used; the message says which.
    """
    from avbench.data.locate import locate
    from avbench.running.request import resolve

    missing: dict[str, None] = {}
    for name, step in _steps(sweep, common):
        try:
            configs = [resolve(request) for request in step.requests()]
        except InputError as error:
            raise InputError(f"{path}: trial {name}: {error}") from None
        for config in configs:
            try:
                locate(config.data, config.input)
                locate(config.data.judged, config.input, option="data.eval_source")
            except InputError as error:
                missing[str(error)] = None
    return list(missing)


def _steps(sweep: Sweep, common: ConfigOptions) -> Iterator[tuple[str, Step]]:
    """Yields every command of the trials to be checked, with the trial's name."""
    from avbench.launch.driver import named
    from avbench.launch.trial import steps

    for params in sweep.grid() if sweep.sampler.name == "grid" else sweep.corners():
        for step in steps(sweep, params, sweep.seeds[:1], common):  # another seed changes nothing here
            yield named(params), step


def with_settings(common: ConfigOptions, settings: Sequence[str]) -> ConfigOptions:
    """Returns the options of every command with settings added that change no number."""
    import dataclasses

    return dataclasses.replace(common, set=(tuple(settings),) if settings else ())


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")

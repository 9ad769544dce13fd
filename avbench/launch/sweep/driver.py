"""The driver of a sweep: asks Optuna for trials, has their jobs run, and tells what became of them.

Trials are ``avbench`` commands that know nothing of the study. The driver reads the course of their training from
metrics.csv and their results from the records, so it can be killed at any time: running jobs continue, and the same
command resumes the same trials.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import AvbenchError
from avbench.files import write_sealed
from avbench.launch import planner
from avbench.launch.planner import Wanted
from avbench.launch.pool import Pool
from avbench.launch.schedule import Chain, Schedule
from avbench.launch.status import PRUNED
from avbench.launch.sweep import study as studies
from avbench.launch.sweep import trial as trials
from avbench.launch.sweep.config import Params, Sweep
from avbench.launch.sweep.course import Course
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    import optuna

    from avbench.running.runner import Runner


@dataclass
class _Active:
    """A trial that runs."""

    trial: optuna.Trial
    params: Params
    chains: list[Chain]  # one a seed
    began: float
    reported: set[int]
    course: Course | None = None
    pruned_at: int | None = None
    trainings: list[Path] = field(default_factory=list)  # folders of those that the pruner may stop

    @property
    def over(self) -> bool:
        """Whether nothing of it runs or is to be run."""
        return all(chain.over for chain in self.chains)


class Driver:
    """Runs the trials of a sweep.

    Args:
        sweep: The sweep.
        study: Its study, made ready by :func:`avbench.launch.sweep.study.take_up`.
        pool: Where jobs run.
        runner: Knows what is computed already.
        common: Results folder, device and precision of every command.
        folder: The sweep's folder; logs go there.
        report: Called with each line for the user.
    """

    def __init__(
        self,
        sweep: Sweep,
        study: optuna.Study,
        pool: Pool,
        runner: Runner,
        common: ConfigOptions,
        folder: Path,
        report: Callable[[str], None],
    ) -> None:
        self.sweep, self.study, self.runner = sweep, study, runner
        self.common, self.folder, self.report = common, folder, report
        self._schedule = Schedule(pool, runner, self._begins)
        self._active: list[_Active] = []
        self._left = 0  # trials to be asked for
        self._told = 0
        self._total = 0

    def run(self, running: list[optuna.Trial]) -> list[str]:
        """Runs what is left.

        Args:
            running: Trials that a driver left, which are taken up first.

        Returns:
            What is to be said of each trial that failed.

        Raises:
            Stopped: As for :meth:`avbench.launch.schedule.Schedule.until`.
        """
        self._left = studies.left(self.study, self.sweep)
        self._total = self._left + len(running)
        failed: list[str] = []

        def turn() -> bool:
            self._schedule.start(self._ask)
            self._schedule.ended()
            for active in [active for active in self._active if active.over]:
                failed.extend(self._tell(active))
            for active in self._active:
                self._watch(active)
            return bool(self._active or self._left)

        for trial in running:
            self._begin(trial)
        self._schedule.until(turn)
        return failed

    def _ask(self) -> bool:
        """Asks for another trial, if there is one; one that is over is told first, as the sampler goes by it."""
        if not self._left or any(active.over for active in self._active):
            return False
        self._left -= 1
        self._begin(studies.ask(self.study, self.sweep))
        return True

    def _begin(self, trial: optuna.Trial) -> None:
        params = dict(trial.params)
        chains = []
        for seed in self.sweep.seeds:
            name = f"{self.sweep.name}-{trial.number}-seed{seed}"
            wanted = trials.wanted_of(self.sweep, params, (seed,), self.common)
            chains.append(Chain(name, wanted, self.folder / "logs" / f"{name}.log"))
        steps = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self._active.append(_Active(trial, params, chains, time.monotonic(), steps))
        self._schedule.add(chains)
        self.report(f"trial {trial.number}: {trials.named(params)}")
        for line in trials.commands(self.sweep, params, self.common):
            self.report(f"    {line}")

    def _begins(self, chain: Chain, wanted: Wanted) -> None:
        """Finds the file that tells of a trial's course: that of its first seed."""
        active = next(active for active in self._active if chain in active.chains)
        path = trials.watched(wanted, self.sweep.pruner, self.runner)
        if path is None:
            return
        active.trainings.append(path.parent)
        (path.parent / PRUNED).unlink(missing_ok=True)
        if active.course is None and chain is active.chains[0]:
            active.course = Course(path, self.sweep.pruner.column)

    def _watch(self, active: _Active) -> None:
        """Reports a trial's course to Optuna, and stops the trial where the pruner says so."""
        if active.course is None or active.pruned_at is not None:
            return
        try:
            rows = active.course.rows()
        except AvbenchError as error:
            active.course = None
            self.report(f"trial {active.trial.number}: {error}")
            return
        # Pruners look at intermediate values as at those of the objective.
        sign = 1 if self.sweep.pruner.direction == self.sweep.objectives[0].direction else -1
        for step, value in rows:
            if step not in active.reported:
                active.reported.add(step)
                active.trial.report(sign * value, step)
                if active.trial.should_prune():
                    self._prune(active, step)
                    return

    def _prune(self, active: _Active, step: int) -> None:
        active.pruned_at = step
        self._schedule.drop(active.chains, "pruned")

    def _tell(self, active: _Active) -> list[str]:
        """Tells Optuna how a trial ended; returns what is to be said of it in the end, where it failed."""
        from optuna.trial import TrialState

        self._active.remove(active)
        self._told += 1
        number = active.trial.number
        head = f"[{self._told}/{self._total}] trial {number} ({trials.named(active.params)})"
        minutes, seconds = divmod(round(time.monotonic() - active.began), 60)
        errors = [
            f"seed {seed}: {chain.error}"
            for seed, chain in zip(self.sweep.seeds, active.chains, strict=True)
            if chain.error
        ]
        if active.pruned_at is not None:
            active.trial.set_user_attr("pruned_at", active.pruned_at)
            self.study.tell(number, state=TrialState.PRUNED)
            for folder in filter(Path.is_dir, active.trainings):
                told = {"sweep": self.sweep.name, "trial": number, "step": active.pruned_at}
                write_sealed(folder / PRUNED, told)
            self.report(f"{head}: pruned at step {active.pruned_at}; its training can be resumed")
            return []
        values: dict[str, list[float]] = {}
        if not errors:
            try:
                values = self._values(active)
            except AvbenchError as error:
                errors.append(str(error))
        if errors:
            active.trial.set_user_attr("error", " ".join(errors))
            self.study.tell(number, state=TrialState.FAIL)
            self.report(f"{head}: failed in {minutes} min {seconds} s")
            return [f"trial {number} ({trials.named(active.params)}): {' '.join(errors)}"]
        active.trial.set_user_attr("values", values)  # of each seed
        self.study.tell(number, [statistics.fmean(each) for each in values.values()])
        shown = ", ".join(f"{name} {statistics.fmean(each):.4g}" for name, each in values.items())
        self.report(f"{head}: done in {minutes} min {seconds} s; {shown}")
        return []

    def _values(self, active: _Active) -> dict[str, list[float]]:
        """Returns each objective's values over the seeds, from the records."""
        found: dict[str, list[float]] = {objective.name: [] for objective in self.sweep.objectives}
        for chain in active.chains:
            records: list[dict[str, Any] | None] = []
            for wanted in chain.wanted:
                if wanted.tasks:
                    records += planner.records(wanted.given(chain.weights), self.runner)
            for objective in self.sweep.objectives:
                found[objective.name].append(trials.value(objective, records))
        return found

"""The driver of a sweep: asks Optuna for trials, has their jobs run, and tells what became of them.

Trials are ``avbench`` commands that know nothing of the study. The driver reads the course of their training from
metrics.csv and their results from the records, so it can be killed at any time: running jobs continue, and the same
command resumes the same trials.
"""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import AvbenchError
from avbench.launch.job import Finished, Job
from avbench.launch.pool import Pool, stop_signals
from avbench.launch.sweep import study as studies
from avbench.launch.sweep import trial as trials
from avbench.launch.sweep.config import Params, Sweep
from avbench.launch.sweep.progress import Progress
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    import optuna

    from avbench.running.runner import Runner

_POLL_S = 0.2


@dataclass
class _Lane:
    """The commands of a trial for one seed, one after the other."""

    seed: int
    steps: list[trials.Step]
    at: int = 0
    weights: Path | None = None
    job: Job | None = None
    ran: tuple[str, ...] = ()  # what ended well last
    error: str = ""

    @property
    def step(self) -> trials.Step:
        """The command that is its turn."""
        return self.steps[self.at].given(self.weights)

    @property
    def over(self) -> bool:
        """Whether nothing of it is to be run any more."""
        return self.job is None and (bool(self.error) or self.at == len(self.steps))


@dataclass
class _Active:
    """A trial that runs."""

    trial: optuna.Trial
    params: Params
    lanes: list[_Lane]
    began: float
    reported: set[int]
    progress: Progress | None = None
    pruned_at: int | None = None
    ready: list[_Lane] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing of it runs or is to be run."""
        return all(lane.over for lane in self.lanes)


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
        self.sweep, self.study, self.pool, self.runner = sweep, study, pool, runner
        self.common, self.folder, self.report = common, folder, report
        self._active: list[_Active] = []
        self._jobs: dict[tuple[str, ...], Job] = {}  # in the pool, by their arguments
        self._told = 0
        self._total = 0

    def run(self, running: list[optuna.Trial]) -> list[str]:
        """Runs what is left.

        Args:
            running: Trials that a driver left, which are taken up first.

        Returns:
            What is to be said of each trial that failed.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM came; the jobs have ended and left what they had.
        """
        left = studies.left(self.study, self.sweep)
        self._total = left + len(running)
        with stop_signals() as received:
            try:
                return self._loop(left, running, received)
            except BaseException:
                self.pool.close()
                raise

    def _loop(self, left: int, running: list[optuna.Trial], received: list[int]) -> list[str]:
        failed: list[str] = []
        for trial in running:
            self._begin(trial)
        while not received:
            left -= self._fill(left)
            if not self._active:
                return failed
            for finished in self.pool.ended():
                self._ended(finished)
            over = [active for active in self._active if active.over]
            for active in over:
                failed += self._tell(active)
            for active in self._active:
                self._watch(active)
            if not over:
                time.sleep(_POLL_S)
        raise KeyboardInterrupt

    def _fill(self, left: int) -> int:
        """Starts jobs as long as there is room, asking for trials where it needs to; returns how many it asked for."""
        asked, jobs = 0, []
        # A trial that is over is told before another is asked for: the sampler goes by it.
        while len(self._jobs) < self.pool.slots and not any(active.over for active in self._active):
            waiting = [(active, lane) for active in self._active for lane in active.ready]
            if not waiting and asked < left:
                self._begin(studies.ask(self.study, self.sweep))
                asked += 1
                continue
            if not waiting:
                break
            active, lane = waiting[0]
            active.ready.remove(lane)
            job = self._next(active, lane)
            if job is not None:
                jobs.append(job)
        if jobs:
            self.pool.start(jobs)
        return asked

    def _begin(self, trial: optuna.Trial) -> None:
        params = dict(trial.params)
        lanes = [_Lane(seed, trials.steps(self.sweep, params, (seed,), self.common)) for seed in self.sweep.seeds]
        steps = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        active = _Active(trial, params, lanes, time.monotonic(), steps, ready=list(lanes))
        self._active.append(active)
        self.report(f"trial {trial.number}: {named(params)}")
        for line in trials.commands(self.sweep, params, self.common):
            self.report(f"    {line}")

    def _next(self, active: _Active, lane: _Lane) -> Job | None:
        """Returns the next job of a lane that is not in the pool yet; what is done is passed over."""
        try:
            while lane.at < len(lane.steps):
                step = lane.step
                weights: Path | None
                if step.command == "pretrain":
                    weights, done = trials.weights_of(step, self.runner)
                else:
                    weights, done = lane.weights, None not in trials.records(step, self.runner)
                if not done and step.words == lane.ran:
                    lane.error = f"it ended well and left no result: {shlex.join(('avbench', *step.words))}"
                    return None
                if not done:
                    return self._job(active, lane, step)
                lane.at, lane.weights = lane.at + 1, weights
        except AvbenchError as error:
            lane.error = str(error)
        return None

    def _job(self, active: _Active, lane: _Lane, step: trials.Step) -> Job | None:
        if active.progress is None and lane is active.lanes[0]:
            path = trials.watched(step, self.sweep.pruner, self.runner)
            active.progress = Progress(path, self.sweep.pruner.column) if path is not None else None
        if step.words in self._jobs:  # another trial's, too
            lane.job = self._jobs[step.words]
            return None
        part = f"-{lane.at + 1}" if len(lane.steps) > 1 else ""
        name = f"{self.sweep.name}-{active.trial.number}-seed{lane.seed}{part}"
        lane.job = self._jobs[step.words] = Job(name, step.words, self.folder / "logs" / f"{name}.log")
        return lane.job

    def _ended(self, finished: Finished) -> None:
        del self._jobs[finished.job.arguments]
        for active in self._active:
            for lane in active.lanes:
                if lane.job == finished.job:
                    lane.job, lane.ran = None, finished.job.arguments
                    lane.error = finished.error if active.pruned_at is None else "pruned"
                    if not lane.error:
                        active.ready.append(lane)

    def _watch(self, active: _Active) -> None:
        """Reports a trial's course to Optuna, and stops the trial where the pruner says so."""
        if active.progress is None or active.pruned_at is not None:
            return
        try:
            rows = active.progress.rows()
        except AvbenchError as error:
            active.progress = None
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
        active.ready.clear()
        for lane in active.lanes:
            lane.error = "pruned"
            others = [each for other in self._active if other is not active for each in other.lanes]
            if lane.job is not None and all(each.job != lane.job for each in others):
                self.pool.stop(lane.job)
            elif lane.job is not None:
                lane.job = None  # another trial resumes it

    def _tell(self, active: _Active) -> list[str]:
        """Tells Optuna how a trial ended; returns what is to be said of it in the end, where it failed."""
        from optuna.trial import TrialState

        self._active.remove(active)
        self._told += 1
        number = active.trial.number
        head = f"[{self._told}/{self._total}] trial {number} ({named(active.params)})"
        minutes, seconds = divmod(round(time.monotonic() - active.began), 60)
        errors = [f"seed {lane.seed}: {lane.error}" for lane in active.lanes if lane.error]
        if active.pruned_at is not None:
            active.trial.set_user_attr("pruned_at", active.pruned_at)
            self.study.tell(number, state=TrialState.PRUNED)
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
            return [f"trial {number} ({named(active.params)}): {' '.join(errors)}"]
        active.trial.set_user_attr("values", values)  # of each seed
        self.study.tell(number, [statistics.fmean(each) for each in values.values()])
        shown = ", ".join(f"{name} {statistics.fmean(each):.4g}" for name, each in values.items())
        self.report(f"{head}: done in {minutes} min {seconds} s; {shown}")
        return []

    def _values(self, active: _Active) -> dict[str, list[float]]:
        """Returns each objective's values over the seeds, from the records."""
        found: dict[str, list[float]] = {objective.name: [] for objective in self.sweep.objectives}
        for lane in active.lanes:
            records: list[dict[str, Any] | None] = []
            for step in lane.steps:
                if step.command == "run":
                    records += trials.records(step.given(lane.weights), self.runner)
            for objective in self.sweep.objectives:
                found[objective.name].append(trials.value(objective, records))
        return found


def named(params: Params) -> str:
    """Returns a trial's parameters as text."""
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )

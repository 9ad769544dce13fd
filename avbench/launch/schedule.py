"""Chains of commands in a pool: each command begins when there is room and the one before it has ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.errors import AvbenchError, Stopped
from avbench.launch import planner
from avbench.launch.job import Finished, Job
from avbench.launch.planner import Wanted
from avbench.launch.pool import Pool, stop_signals

if TYPE_CHECKING:
    from avbench.running.runner import Runner

_POLL_S = 0.2


@dataclass(eq=False)
class Chain:
    """Runs wanted one after the other, of which each may take the weights that the one before it made.

    Attributes:
        name: Of its commands, in few words.
        wanted: The runs.
        log: Where their output goes; of several, each has a file of its own.
        at: Which of them is next, or runs.
        weights: What the last pretraining made.
        job: The command that runs.
        ready: Whether the next one may begin.
        ran: The words of the command that ended well last.
        error: Why it went no further.
    """

    name: str
    wanted: Sequence[Wanted]
    log: Path
    at: int = 0
    weights: Path | None = None
    job: Job | None = None
    ready: bool = True
    ran: tuple[str, ...] = ()
    error: str = ""

    @property
    def next(self) -> Wanted:
        """The run whose turn it is."""
        return self.wanted[self.at].given(self.weights)

    @property
    def over(self) -> bool:
        """Whether nothing of it is to be run any more."""
        return self.job is None and (bool(self.error) or self.at == len(self.wanted))

    def next_job(self) -> Job:
        """Returns the command whose turn it is."""
        part = f"-{self.at + 1}" if len(self.wanted) > 1 else ""
        return self.next.job(f"{self.name}{part}", log=self.log.with_stem(f"{self.log.stem}{part}"))


class Schedule:
    """Runs chains in a pool.

    Args:
        pool: Where commands run.
        runner: Knows what is computed already, which is passed over; None: every command is run once.
        begins: Called with a chain and the run that it begins.
    """

    def __init__(
        self, pool: Pool, runner: Runner | None, begins: Callable[[Chain, Wanted], None] = lambda chain, wanted: None
    ) -> None:
        self._pool, self._runner, self._begins = pool, runner, begins
        self._chains: list[Chain] = []
        self._jobs: dict[tuple[str, ...], Job] = {}  # in the pool, by their arguments

    def add(self, chains: Iterable[Chain]) -> None:
        """Takes chains over; the earlier ones go first."""
        self._chains += chains

    def start(self, more: Callable[[], bool] = lambda: False) -> None:
        """Begins what there is room for; where nothing is ready, ``more`` may add chains, and says whether it did."""
        jobs = []
        while len(self._jobs) < self._pool.slots:
            chain = next((each for each in self._chains if each.ready), None)
            if chain is None:
                if not more():
                    break
                continue
            chain.ready = False
            job = self._advance(chain)
            if job is not None:
                jobs.append(job)
        if jobs:
            self._pool.start(jobs)

    def ended(self) -> list[Finished]:
        """Returns the commands that ended since the last call; what waited for them is ready."""
        found = self._pool.ended()
        for finished in found:
            del self._jobs[finished.job.arguments]
            for chain in self._chains:
                if chain.job == finished.job:
                    chain.job, chain.ran = None, finished.job.arguments
                    chain.error = chain.error or finished.error
                    chain.ready = not chain.error
        self._chains = [chain for chain in self._chains if not chain.over]
        return found

    def drop(self, chains: Sequence[Chain], error: str) -> None:
        """Stops chains; a command that others wait for, too, goes on."""
        for chain in chains:
            chain.error, chain.ready = error, False
            if chain.job is None:
                continue
            if any(each.job == chain.job for each in self._chains if each not in chains):
                chain.job = None
            else:
                self._pool.stop(chain.job)

    def until(self, turn: Callable[[], bool]) -> None:
        """Takes turns until one says that it was the last.

        Raises:
            Stopped: A signal came that asks for the end; the commands have ended and left what they had.
        """
        with stop_signals() as received:
            try:
                while turn():
                    if received:
                        raise Stopped("interrupted; jobs kept their state, the same command resumes them.", received[0])
                    time.sleep(_POLL_S)
            except BaseException:
                self._pool.close()
                raise

    def run(self, chains: Sequence[Chain], report: Callable[[Finished], None]) -> list[Chain]:
        """Runs chains to their end, one that fails not stopping the others, and returns those that failed.

        Args:
            chains: The chains.
            report: Called with each command as it ends.

        Raises:
            Stopped: As for :meth:`until`.
        """
        self.add(chains)

        def turn() -> bool:
            self.start()
            for finished in self.ended():
                report(finished)
            return bool(self._chains)

        self.until(turn)
        return [chain for chain in chains if chain.error]

    def _advance(self, chain: Chain) -> Job | None:
        """Returns the next command of a chain that is not in the pool yet; what is done is passed over."""
        try:
            while chain.at < len(chain.wanted):
                wanted, weights = chain.next, chain.weights
                ran = wanted.words == chain.ran
                if self._runner is None:
                    done = ran
                elif wanted.tasks:
                    done = None not in planner.records(wanted, self._runner)
                else:
                    weights, done = planner.weights_of(wanted, self._runner)
                if not done and ran:
                    chain.error = f"it ended well and left no result: {shlex.join(('avbench', *wanted.words))}"
                    return None
                if not done:
                    return self._job(chain)
                chain.at, chain.weights = chain.at + 1, weights
        except AvbenchError as error:
            chain.error = str(error)
        return None

    def _job(self, chain: Chain) -> Job | None:
        job = chain.next_job()
        self._begins(chain, chain.next)
        if job.arguments in self._jobs:  # another chain's, too
            chain.job = self._jobs[job.arguments]
            return None
        chain.job = self._jobs[job.arguments] = job
        return job

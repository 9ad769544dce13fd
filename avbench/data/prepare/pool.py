"""Decoding processes that may hang, crash or ask for too much memory without taking the run down."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait

from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.prepare.packed import Packed
from avbench.data.prepare.payload import Done, Message, Refusal
from avbench.errors import RunError
from avbench.processes import ONE_CORE, Child
from avbench.settings import to_dict

_START_TIMEOUT_S = 120.0
_TURN_S = 1.0


@dataclass
class _Worker:
    child: Child
    deadline: float
    ready: bool = False
    job: int | None = None
    sent: int = 0


class Decoders:
    """Decodes files in ``workers`` processes.

    Args:
        jobs: (number, where it is) of each file, in the order they are begun.
        settings: How; ``file_timeout`` bounds the time to each message, ``memory_gb`` each process.
        workers: Processes at most.
        decode: False: they are only asked what they have, and each answers with ``Tracks``.
    """

    def __init__(
        self,
        jobs: list[tuple[int, str | Packed]],
        settings: PrepareSettings,
        workers: int,
        *,
        decode: bool = True,
    ) -> None:
        self._jobs = iter(jobs)
        self._settings, self._decode = settings, decode
        self._turned = time.monotonic()
        # A process that is ended leaves what it unpacked.
        self._unpacked = tempfile.TemporaryDirectory(prefix="avbench-", ignore_cleanup_errors=True)
        self._workers = [self._start() for _ in range(min(workers, len(jobs)))]

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes at once."""
        for worker in self._workers:
            worker.child.stop()
        self._workers.clear()
        self._unpacked.cleanup()

    def messages(self, only: int | None = None) -> Iterator[tuple[int, Message]]:
        """Waits for news, a second at most, and yields it as (number of the job, message).

        The last message of each job is ``Done``; a process that dies or exceeds its time is replaced, and a
        ``Refusal`` says so before its job's ``Done``.

        Args:
            only: Hear only the process that works on this job, so that the others wait with their results.
        """
        heard = [w for w in self._workers if only is None or w.job == only or not w.ready]
        now = self._now()
        for worker in self._workers:
            if worker not in heard:
                worker.deadline = now + self._settings.file_timeout
        nearest = min((w.deadline for w in heard), default=now)
        ready = wait([w.child.connection for w in heard], timeout=min(max(0.0, nearest - now), _TURN_S))
        now = self._now()
        for worker in heard:
            if worker.child.connection in ready:
                yield from self._receive(worker)
            elif worker.deadline < now:
                yield from self._replace(worker, f"timed out after {self._settings.file_timeout:g} s")

    def _now(self) -> float:
        """Returns the time; all get back what this process stood still: a scheduler that stops it stops all."""
        now = time.monotonic()
        stood = now - self._turned
        if stood > 2 * _TURN_S:
            for worker in self._workers:
                worker.deadline += stood
        self._turned = now
        return now

    def _receive(self, worker: _Worker) -> Iterator[tuple[int, Message]]:
        try:
            message = worker.child.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker, f"decoder crashed: {worker.child.ending()}")
            return
        if message == "ready":
            worker.ready = True
            self._assign(worker)
            return
        job = worker.job
        worker.sent += 1
        worker.deadline = time.monotonic() + self._settings.file_timeout
        if isinstance(message, Done):
            self._assign(worker)
        if job is not None:
            yield job, message

    def _replace(self, worker: _Worker, reason: str) -> Iterator[tuple[int, Message]]:
        said = "" if worker.ready else worker.child.last_words()
        worker.child.stop()
        self._workers.remove(worker)
        if not worker.ready:
            raise RunError(f"a decoding process did not start ({reason}); {said or 'it said nothing'}")
        self._workers.append(self._start())
        if worker.job is not None:
            yield worker.job, Refusal(worker.sent * self._settings.step, reason)
            yield worker.job, Done()

    def _assign(self, worker: _Worker) -> None:
        worker.job, medium = next(self._jobs, (None, ""))
        worker.sent = 0
        if worker.job is None:
            worker.deadline = float("inf")
            return
        worker.deadline = time.monotonic() + self._settings.file_timeout
        worker.child.connection.send(medium)

    def _start(self) -> _Worker:
        variables = {**ONE_CORE, "TMPDIR": self._unpacked.name}
        options = json.dumps({"decode": self._decode, "settings": to_dict(self._settings)})
        child = Child("avbench.data.prepare.worker", options, variables=variables)
        return _Worker(child, deadline=time.monotonic() + _START_TIMEOUT_S)

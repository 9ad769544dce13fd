"""Stopping on a signal without losing a step."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from avbench.processes import stops


class StopRequest:
    """Whether, and why, training is to stop after the step in flight."""

    def __init__(self, stop: Callable[[], bool] | None = None) -> None:
        self.signal_number: int | None = None
        self._stop = stop

    @property
    def reason(self) -> str:
        """Why to stop; empty: go on."""
        if self.signal_number is not None:
            return signal.Signals(self.signal_number).name
        return "a request to stop" if self._stop is not None and self._stop() else ""

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.signal_number = number
        # A second Ctrl-C does not wait for the step: checkpoints are atomic, so that loses seconds, not the run.
        signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[], bool] | None = None) -> Iterator[StopRequest]:
    """Turns SIGINT, SIGTERM and SIGHUP into a request that the training loop looks at after each step.

    Args:
        stop: Asked after each step, too; True stops. For schedulers with signals of their own.
    """
    request = StopRequest(stop)
    before = {}
    with contextlib.suppress(ValueError):  # only the main thread may set handlers; elsewhere ``stop`` does
        for number in stops():
            before[number] = signal.signal(number, request._receive)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What runs inside a job of the cluster: one ``avbench`` command, kept alive over preemptions by Slurm and submitit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avbench.launch import container
from avbench.processes import words

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from avbench.launch.job import Job
    from avbench.launch.profile import Profile

# Exit statuses of a command that was asked to stop and left a state to resume from (or none, outside of training).
_STOPPED = {sign for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) for sign in (128 + stop, -stop)}
_UNTIL_KILLED_S = 300.0  # a process whose job is being requeued waits that long for the scheduler to end it


@dataclass
class Payload:
    """The command of a job. Submitit pickles it, calls it in every process and :meth:`checkpoint` before the end.

    Attributes:
        arguments: What follows ``avbench``.
        together: Whether the processes of the job train one model; otherwise there is one process.
        code: Variables by which the command finds the code of the process that submitted it, and refuses any other.
        container: The image it runs in, as a profile names it; empty: none.
    """

    arguments: tuple[str, ...]
    together: bool = False
    code: Mapping[str, str] = field(default_factory=dict)
    container: str = ""
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, job: Job, profile: Profile, code: Mapping[str, str]) -> Payload:
        """Returns the command of a job as a profile runs it.

        Args:
            job: The job.
            profile: Whether it is to run in parallel, and in a container.
            code: As the attribute.
        """
        return cls(job.arguments, job.together and profile.world > 1, code, profile.container)

    def __call__(self) -> None:
        """Runs the command in a process of its own, which takes signals as on any other machine; exits as it does."""
        if self.together:
            from submitit.helpers import TorchDistributedEnvironment

            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        # Slurm signals every process of a job. The command is to learn of it from :meth:`checkpoint` only, once; a
        # signal that is blocked here stays so there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        variables = {**os.environ, **self.code}
        command = words(*self.arguments)
        if self.container:
            command = container.words(
                self.container, self.arguments, gpus=container.has_gpus(variables), variables=variables
            )
        self._child = subprocess.Popen(command, env=variables)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = self._child.wait()
        if status in _STOPPED:
            # Slurm ends all processes of a job that it requeues or cancels. To fail before that would count as such.
            time.sleep(_UNTIL_KILLED_S)
        if status < 0:
            sys.stderr.write(f"failed: 'avbench {self.arguments[0]}' ended by signal {-status}\n")
        if status:
            sys.exit(128 - status if status < 0 else status)  # as a shell has it; what it said is in the log above

    def checkpoint(self) -> DelayedSubmission:
        """Stops the command after the current step and returns what resumes it.

        Submitit calls this in the process of rank 0, inside a signal handler: the main program is held in ``wait``
        below and must not be waited for.
        """
        from submitit.helpers import DelayedSubmission

        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._child.pid, signal.SIGTERM)
                os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)  # WNOWAIT: it stays for ``wait``
        return DelayedSubmission(Payload(self.arguments, self.together, self.code, self.container))

"""``avbench status``: which jobs wait, run, have failed or are done, and how far they are."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from avbench.commands.terminal import plain
from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.launch.status import JobState


@dataclass(frozen=True, kw_only=True)
class Command:
    """Shows the progress of a results folder's jobs, on this machine or on a cluster."""

    results: Path = Path("results")
    """Where the records are."""
    watch: bool = False
    """Repeat until no job waits or runs."""
    every: float = 10.0
    """Seconds between two updates with --watch."""
    all: bool = False
    """Also show finished jobs, one line each."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output."""

    def execute(self) -> int:
        """Prints it; returns 1 when a job has failed or is stale."""
        from avbench.launch.status import job_states

        if self.every <= 0:
            raise InputError(f"--every: found {self.every:g}, valid: above 0.")
        while True:
            states = job_states(self.results)
            if self.format == "json":
                sys.stdout.write(json.dumps([dataclasses.asdict(state) for state in states]) + "\n")
            else:
                if self.watch and sys.stdout.isatty():
                    plain(sys.stdout).write("\x1b[H\x1b[2J")
                sys.stdout.write(render(states, everything=self.all) + "\n")
            sys.stdout.flush()
            if not self.watch or not any(state.state in ("running", "queued") for state in states):
                return 1 if any(state.state in ("failed", "stale") for state in states) else 0
            time.sleep(self.every)


def render(states: list[JobState], *, everything: bool = False) -> str:
    """Returns states as text: how many there are of each, then a line a job, the ones that run first."""
    from avbench.launch.status import STATES, counts

    if not states:
        return "no jobs were started for these results"
    number = counts(states)
    lines = [", ".join(f"{number[name]} {name}" for name in STATES if number[name])]
    shown = [state for state in states if everything or state.state != "done"]
    width = max((len(state.name) for state in shown), default=0)
    for state in sorted(shown, key=lambda state: STATES.index(state.state)):
        line = f"{state.state:<8} {state.name:<{width}}  {state.job:<8} {_progress(state)}"
        lines.append(f"{line}{state.detail}".rstrip())
        if state.state in ("failed", "stale") and state.log:
            lines.append(f"{'':<9}log: {state.log}")
    return "\n".join(lines)


def _progress(state: JobState) -> str:
    found = state.progress
    if found is None:
        return ""
    parts = [f"step {found.step}/{found.steps}"]
    if found.loss is not None:
        parts.append(f"loss {found.loss:.4g}")
    if state.state == "running" and found.clips_per_s:
        parts.append(f"{found.clips_per_s:.4g} clips/s")
    if state.state == "running" and found.left_s is not None:
        parts.append(f"{_duration(found.left_s)} left")
    return ", ".join(parts) + "  "


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"

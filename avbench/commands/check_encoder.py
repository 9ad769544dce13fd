"""``avbench check encoder``: whether anybody's encoder gives what tasks can use, before anything long is begun."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from avbench import registry
from avbench.errors import InputError

_CLIPS = ("data.train_clips=16", "data.test_clips=8")  # of the embedded set


@dataclass(frozen=True, kw_only=True)
class Command:
    """Runs an encoder on a few clips: shapes, numbers, batches, determinism, silence, pairs, speed and memory."""

    encoder: tyro.conf.Positional[str]
    """FILE.py:Class, PACKAGE.MODULE:Class, or a name; see: avbench list encoders."""
    data: str | None = None
    """Where the clips are from, as for run; without it the embedded set."""
    checkpoint: Path | None = None
    """Its weights."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Its arguments, as encoder.KEY=VALUE, and data.KEY=VALUE."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""

    def execute(self) -> int:
        """Prints one line for each thing; returns 1 when one is not right."""
        from avbench.encoders.check import examine
        from avbench.running import encoded
        from avbench.running.asked import Request
        from avbench.running.request import resolve
        from avbench.running.runner import Execution, Runner
        from avbench.training.device import resolve_device

        entry = registry.encoder(self.encoder)
        if self.checkpoint is not None and not self.checkpoint.is_file():
            raise InputError(f"--checkpoint {self.checkpoint}: no such file.")
        device = resolve_device(self.device)
        sets = self.set if self.data else (*_CLIPS, *self.set)
        request = Request(
            method=self.encoder, task="linear_probe", data=self.data, checkpoint=self.checkpoint, sets=sets
        )
        config = resolve(request)
        clips = Runner(Execution(device=device)).corpus(config).judged
        start = time.perf_counter()
        encoder = encoded.load(config, device)
        tasks = ", ".join(registry.tasks_of(entry))
        self._say(True, f"{entry.shown}: loaded in {time.perf_counter() - start:.1f} s on {device}; tasks: {tasks}")
        failed = 0
        for finding in examine(encoder, clips):
            failed += not finding.ok
            self._say(finding.ok, finding.text)
        return 1 if failed else 0

    def _say(self, ok: bool, text: str) -> None:
        sys.stdout.write(f"{'ok     ' if ok else 'FAILED '} {' '.join(text.split())}\n")

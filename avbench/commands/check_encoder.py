"""``avbench check encoder``: whether an encoder gives what tasks can use, before anything long is begun."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.files.paths import check_is_file

_CLIPS = ("data.train_clips=16", "data.test_clips=8")  # of the embedded set


def check_encoder(name: str, *, data: str | None, checkpoint: Path | None, settings: Sequence[str], device: str) -> int:
    """Prints one line for each thing that is looked at; returns 1 when one is not right.

    Args:
        name: Anybody's encoder, or a method: its first weights, where no others are given.
        data: Where the clips are from, as for run; None: the embedded set.
        checkpoint: Its weights.
        settings: Its arguments, as encoder.KEY=VALUE, of a method its settings, and data.KEY=VALUE.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: Something named cannot be used.
    """
    from avbench.encoders.check import examine
    from avbench.running import weights
    from avbench.running.asked import Request
    from avbench.running.request import resolve
    from avbench.running.runner import Execution, Runner
    from avbench.training.device import resolve_device
    from avbench.training.hub import fetched

    entry = registry.entries("method").get(name) or registry.encoder(name)
    checkpoint = None if checkpoint is None else fetched(checkpoint)
    if checkpoint is not None:
        check_is_file(checkpoint, "--checkpoint", "the file of its weights")
    where = resolve_device(device)
    sets = (*(() if data else _CLIPS), *settings)
    tasks = registry.tasks_of(entry)
    shared: dict[str, Any] = {"data": data, "checkpoint": checkpoint, "sets": sets, "precision": "fp32"}
    config = resolve(Request(method=name, task=tasks[0], **shared))
    clips = Runner(Execution(device=where)).corpus(config).judged
    start = time.perf_counter()
    judged = weights.load(config, (), where)
    said = ", without training" if config.weights == "pretrained" else ""
    seconds = time.perf_counter() - start
    _say(True, f"{entry.shown}: loaded in {seconds:.1f} s on {where}{said}; tasks: {', '.join(tasks)}")
    failed = 0
    for finding in examine(judged, clips):
        failed += not finding.ok
        _say(finding.ok, finding.text)
    return 1 if failed else 0


def _say(ok: bool, text: str) -> None:
    sys.stdout.write(f"{'ok     ' if ok else 'FAILED '} {' '.join(text.split())}\n")

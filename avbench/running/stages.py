"""The work of a run, stage by stage: each is reused where it is done, or else computed, timed and sealed."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench.files import Damaged, set_aside, write_sealed
from avbench.processes import locked, sweep
from avbench.running import extraction, finetuning, pretraining
from avbench.running.execution import Execution
from avbench.running.identity import Extraction, Finetuning, Pretraining, Stage
from avbench.running.plan import Plan
from avbench.store import seal

log = logging.getLogger("avbench")


def make_ready(plan: Plan, execution: Execution) -> None:
    """Makes all that the evaluation of a plan reads, stage by stage.

    What is done is reused; what only such stages would read is not made again where it is gone.

    Args:
        plan: The run.
        execution: Where and how to work.

    Raises:
        AvbenchError: A stage failed; what it finished is kept.
    """
    before = plan.stages[:-1]
    try:
        for stage in _wanted(plan.evaluation, before, execution):
            settle(stage, execution)
    finally:
        execution.release()


def _wanted(evaluation: Stage, before: Sequence[Stage], execution: Execution) -> list[Stage]:
    """Returns the stages whose output somebody has to read, in order: the evaluation, or a stage that is to be made."""
    wanted = set(evaluation.after)
    for stage in reversed(before):
        if stage in wanted and (execution.forces(stage) or not _usable(stage)):
            wanted.update(stage.after)
        elif stage.done and not is_readable(stage):
            wanted.add(stage)  # the record names it and counts its seconds
    return [stage for stage in before if stage in wanted]


def settle(stage: Stage, execution: Execution) -> None:
    """Reuses a stage, or computes it: one process at a time, or the processes of a group together.

    Args:
        stage: The stage; those it reads are done.
        execution: Where and how to work.

    Raises:
        AvbenchError: It failed; what it finished is kept.
    """
    group = execution.group
    if not group.alike(group.leads and (execution.forces(stage) or not _usable(stage))):
        return
    if not group.leads:
        if group.alike(False):
            _compute(stage, execution)
        return
    with locked(stage.folder, lambda: log.info("%s %s is being computed by another process; waiting", *_named(stage))):
        if execution.forces(stage):
            clear(stage.folder)
        elif _usable(stage, mend=True):
            group.alike(False)
            return
        group.alike(True)
        sweep(stage.folder)
        start = time.monotonic()
        figures = _compute(stage, execution)
        _finish(stage, {"wall_s": time.monotonic() - start, **figures})
    execution.computed(stage)


def _compute(stage: Stage, execution: Execution) -> dict[str, Any]:
    """Computes a stage into its folder and returns its figures."""
    match stage:
        case Pretraining():
            execution.release()
            return pretraining.compute(stage, execution)
        case Extraction():
            return extraction.compute(stage, execution)
        case Finetuning():
            execution.release()
            return finetuning.compute(stage, execution)
    raise TypeError(f"stage {stage.name} is no work of its own")  # the evaluation is the runner's


def _named(stage: Stage) -> tuple[str, str]:
    return stage.name, stage.id


def read_done(stage: Stage) -> dict[str, Any]:
    """Returns what a finished stage says of itself: its key, wall time and figures.

    Raises:
        Damaged: It is not what a stage writes.
    """
    return seal.read_done(stage.folder, seal.WHOLE)


def is_readable(stage: Stage) -> bool:
    """Returns whether :func:`read_done` can be had."""
    try:
        read_done(stage)
    except Damaged:
        return False
    return True


def _finish(stage: Stage, figures: dict[str, Any]) -> None:
    told = {"id": stage.id, "key": stage.key, **figures, seal.FILES: seal.seal(stage.folder)}
    write_sealed(stage.folder / seal.DONE, {**told, "wall_s": round(figures["wall_s"], 3)})


def _usable(stage: Stage, *, mend: bool = False) -> bool:
    """Returns whether a stage is done and left what is still there.

    Args:
        stage: The stage.
        mend: Set aside what is damaged, so that it is computed again; the stage's lock is held.
    """
    if not stage.done:
        return False
    found = list(seal.damages(stage.folder, seal.WHOLE))
    if mend:
        for damage in found:
            set_aside(damage)
        if found:
            (stage.folder / seal.DONE).unlink(missing_ok=True)
    return not found


def clear(folder: Path) -> None:
    """Removes what is in a stage's folder, if there is one: ``done.json`` first, but not the lock that is held."""
    if not folder.is_dir():
        return
    (folder / seal.DONE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()

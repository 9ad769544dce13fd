"""What a training run needs to resume as if nothing had happened, and keeping it on disk.

DIRECTORY/checkpoints/step-00000500/model.safetensors       weights; usable as a ``--checkpoint``
DIRECTORY/checkpoints/step-00000500/optimizer.safetensors   the optimiser's averages
DIRECTORY/checkpoints/step-00000500/state.json              everything else, the hashes of the two, and its own

All random draws are functions of the seed and the step (:mod:`avbench.rng`), so this is all there is.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avbench.errors import InputError, RunError
from avbench.files import Damaged, atomic_folder, read_json, sha256_file, unwritten, write_sealed
from avbench.processes import take
from avbench.training.export import save_weights
from avbench.training.group import ProcessGroup
from avbench.training.optimizer import optimizer_tensors, restore_optimizer

log = logging.getLogger("avbench")
SCHEMA = 1
FOLDER = "checkpoints"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass
class TrainState:
    """The position of a run between two optimiser steps."""

    stage: str  # id of the pretraining this belongs to
    step: int = 0  # optimiser steps done
    best_step: int | None = None  # with the lowest tuning loss so far
    best_loss: float | None = None
    elapsed_s: float = 0.0  # wall time of all sessions together
    step_s: float = 0.0  # of that, in steps, their waiting for data included
    waited_s: float = 0.0  # of that, waiting for data
    row: dict[str, float] = field(default_factory=dict)  # last row of metrics.csv
    meter: dict[str, float] = field(default_factory=dict)  # sums since that row
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16


class Broken(Exception):
    """A checkpoint cannot be used; the message says why."""


def checked(folder: Path) -> dict[str, Any]:
    """Returns what ``state.json`` of a checkpoint says; its files are compared with the hashes there.

    Raises:
        Damaged: It is not what was written.
    """
    values: dict[str, Any] = read_json(folder / STATE)
    hashes = values.get("sha256")
    if not isinstance(hashes, dict) or MODEL not in hashes:
        raise Damaged(f"{folder / STATE}: found no hashes of its files.", folder / STATE)
    for name, digest in hashes.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise Damaged(f"{path}: is not what was written (its hash is another).", path)
    return values


@contextlib.contextmanager
def writing(path: Path, last_good: Path | None) -> Iterator[None]:
    """Lets a failure to write say what is safe.

    Raises:
        RunError: The block could not write (disk full, quota, permissions).
    """
    try:
        with unwritten.writing(path):
            yield
    except unwritten.Unwritten as error:
        safe = f"The last good checkpoint is {last_good}" if last_good else "There is no checkpoint yet"
        raise RunError(f"{error} {safe}.") from error


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keeps a second process from training in the same folder; the lock goes with the process, however it ends.

    Raises:
        RunError: Another process trains there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as handle:
        # Not flock: the processes that read clips would inherit it, and outlive a killed run by some seconds.
        if not take(lambda: fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB), directory / "lock"):
            raise RunError(f"{directory}: another process trains there; wait for it or stop it.")
        yield


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        directory: The run's folder.
        stage: Id of the pretraining; checkpoints of another are refused.
        keep: How many to keep, newest first.
    """

    def __init__(self, directory: Path, stage: str, keep: int) -> None:
        self.folder = directory / FOLDER
        self.stage = stage
        self.keep = keep
        self.last_good: Path | None = None

    def path(self, step: int) -> Path:
        """Returns the folder of the checkpoint after ``step`` steps."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Returns the steps of which there are folders, newest first."""
        names = [path.name.removeprefix("step-") for path in self.folder.glob("step-*")]
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def save(
        self, state: TrainState, model: nn.Module, optimizer: torch.optim.Optimizer, group: ProcessGroup | None = None
    ) -> Path:
        """Writes a checkpoint, complete or not at all, and deletes those no longer kept.

        Args:
            state: How far the run is.
            model: Its weights, or this process's part of them.
            optimizer: Likewise of its averages.
            group: The processes that train; each must call, the leader writes.

        Raises:
            RunError: It could not be written; the one before is untouched.
        """
        from safetensors.torch import save_file

        group = group or ProcessGroup()
        path = self.path(state.step)
        weights = group.gather(model.state_dict())
        averages = group.gather(optimizer_tensors(model, optimizer))
        if not group.leads:
            self.last_good = path
            return path
        with writing(path, self.last_good), atomic_folder(path) as temporary:
            save_weights(temporary / MODEL, model, weights=weights, extra={"step": state.step, "stage": self.stage})
            save_file({name: value.cpu().contiguous() for name, value in averages.items()}, temporary / OPTIMIZER)
            hashes = {name: sha256_file(temporary / name) for name in (MODEL, OPTIMIZER)}
            write_sealed(temporary / STATE, {"schema": SCHEMA, "sha256": hashes, **asdict(state)})
        self.last_good = path
        self._prune(state.step)
        return path

    def _prune(self, newest: int) -> None:
        """Deletes all but the newest, those beyond the newest (found broken on resuming) and what a kill left."""
        steps = self.steps()
        kept = [step for step in steps if step <= newest][: self.keep]
        for step in set(steps) - set(kept):
            shutil.rmtree(self.path(step), ignore_errors=True)
        for left in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(left, ignore_errors=True)

    def resume(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, group: ProcessGroup | None = None
    ) -> TrainState | None:
        """Restores the newest checkpoint that is whole; broken ones are reported and passed over.

        Args:
            model: Gets the weights, or the part of them that it holds here.
            optimizer: Likewise the averages.
            group: The processes that train; each must call.

        Returns:
            Where it stands, or None when there is no usable checkpoint: model and optimiser are then untouched.

        Raises:
            InputError: A checkpoint belongs to another pretraining.
            RunError: A whole checkpoint does not fit the model.
        """
        group = group or ProcessGroup()
        for step in self.steps():
            path = self.path(step)
            try:
                state, weights, averages = self._read(path)
            except Broken as fault:
                log.warning("checkpoint %s is broken (%s); trying the one before.", path, fault)
                continue
            try:
                model.load_state_dict(group.divide(weights, model))
                restore_optimizer(model, optimizer, group.divide(averages, model))
            except (RuntimeError, KeyError) as error:
                reason = " ".join(str(error).split())
                raise RunError(f"{path}: does not fit the model ({reason}); delete {self.folder}.") from None
            self.last_good = path
            return state
        return None

    def _read(self, path: Path) -> tuple[TrainState, dict[str, Tensor], dict[str, Tensor]]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            values = checked(path)
            if values.pop("schema") != SCHEMA:
                raise Broken("written by another version of avbench")
            del values["sha256"]
            state = TrainState(**values)
            if state.stage != self.stage:
                raise InputError(
                    f"{path}: found a checkpoint of pretraining '{state.stage}', valid here: '{self.stage}';"
                    f" delete {self.folder} or name another --results folder."
                )
            return state, load_file(path / MODEL), load_file(path / OPTIMIZER)
        except (Damaged, OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
            raise Broken(" ".join(str(error).split())) from None

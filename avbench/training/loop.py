"""Training, of methods and of what is fine-tuned: the plain loop, top to bottom.

The state of a run is weights, optimiser averages and the number of steps done; everything random is a function of
the seed and that number. A run that is killed at any moment and started again therefore ends with the same weights as
one that was not: bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from avbench.config import ONE_OR_IDLE, Precision, TrainConfig
from avbench.data.feed.batch import moved
from avbench.data.progress import Progress
from avbench.errors import InputError, RunError, Stopped
from avbench.methods.base import Method
from avbench.training import best, fitting
from avbench.training.compiled import compile_blocks
from avbench.training.device import torch_threads
from avbench.training.group import ProcessGroup
from avbench.training.interrupt import stop_on_signals
from avbench.training.metrics_log import MetricsLog
from avbench.training.objective import Objective, PretrainingLoss, TrainingBatch
from avbench.training.optimizer import build_optimizer
from avbench.training.precision import float32_products, gradient_scaler, reproducible
from avbench.training.session import WEIGHTS, Session
from avbench.training.share import Share
from avbench.training.sinks import Sinks
from avbench.training.state import Checkpoints, TrainState, exclusive
from avbench.training.threads import Threads, free_cores

__all__ = ["WEIGHTS", "TrainResult", "pretrain", "train"]

_MOST_VALIDATIONS = 25  # the authors validate after each of 25 epochs; very short epochs are not worth one each


@dataclass(frozen=True)
class TrainResult:
    """What became of a run that reached its last step."""

    weights: Path  # those selected: of the last step, or with the lowest tuning loss
    steps: int
    row: dict[str, float]  # last row of metrics.csv: loss and parts, means over the steps since the row before
    tuning_loss: float | None  # the lowest
    best_step: int | None  # where it was reached
    wall_s: float  # all sessions together
    data_wait_share: float  # share of the step time spent waiting for clips
    resumed_from: int  # steps done when this session began


def pretrain(
    method: Method,
    batches: Callable[[int, int], Iterable[TrainingBatch]],
    config: TrainConfig,
    *,
    device: str,
    share: Share | None = None,
    **options: Any,
) -> TrainResult:
    """Pretrains a method: :func:`train` with its own loss, in this process or with others beside it.

    Args:
        method: The method; changed in place.
        batches: See :func:`train`, as the rest.
        config: The recipe.
        device: ``cpu`` or ``cuda``.
        share: This process's share of each batch; None: all of it.
        options: Of :func:`train`.
    """
    share = share or Share.whole(config)
    parallel = share.group.wrap(method.train(), device)
    objective = PretrainingLoss(method, parallel)
    return train(method, objective, batches, config, share=share, parallel=parallel, device=device, **options)


def train(
    model: nn.Module,
    objective: Objective,
    batches: Callable[[int, int], Iterable[TrainingBatch]],
    config: TrainConfig,
    *,
    steps_per_epoch: int,
    stage: str,
    seed: int,
    precision: Precision,
    device: str,
    directory: Path,
    clip_id: Callable[[int], str],
    validate: Callable[[], Iterable[TrainingBatch]] | None = None,
    stop: Callable[[], bool] | None = None,
    workers: int = 0,
    progress: bool = True,
    told: Mapping[str, Any] | None = None,
    ratios: Mapping[tuple[str, ...], float] | None = None,
    after_epoch: Callable[[int], None] | None = None,
    what: str = "pretrain",
    section: str = "train",
    about: Mapping[str, Any] | None = None,
    share: Share | None = None,
    parallel: nn.Module | None = None,
) -> TrainResult:
    """Trains a model, or resumes its training where ``directory`` holds checkpoints.

    Args:
        model: With its first weights; moved to ``device`` and trained in place.
        objective: The loss of the model.
        batches: Called with an epoch, from 0, and the number of its batches to skip; gives the others, ``batch_size``
            clips each, on the CPU. Must be a function of its arguments alone.
        config: Optimiser, schedule, length, checkpoints.
        steps_per_epoch: Full batches of an epoch.
        stage: Id of this training; checkpoints with another are refused.
        seed: Seed of the objective's draws, such as masks.
        precision: Arithmetic of the forward pass.
        device: ``cpu`` or ``cuda``.
        directory: Where checkpoints, metrics.csv and the weights go.
        clip_id: The id of a clip by its position in the data, to name the clips of a batch that fails.
        validate: Gives the batches of the tuning split. Asked after each epoch, but at most 25 times a run.
        stop: Asked before each step; True stops as a signal does.
        workers: Processes that read clips meanwhile; torch takes the cores they leave.
        progress: Show how far it is, on standard error.
        told: What TensorBoard or Weights & Biases are told of it: its ``name``, and its settings.
        ratios: See :func:`~avbench.training.optimizer.build_optimizer`.
        after_epoch: Called with the number of each epoch, from 1, after its last step and before any checkpoint of it;
            a resumed run may call it again for an epoch, with the same weights.
        what: What the progress is called.
        section: The section of the settings that messages name.
        about: More JSON values for the metadata of the weights.
        share: What this process computes of each step, where several train the model; ``batches`` are then its own.
        parallel: The model as wrapped for that.

    Returns:
        Where the weights are, and the figures.

    Raises:
        InputError: A setting that does not fit, or checkpoints of another pretraining in ``directory``.
        RunError: The loss is not finite, the disk is full, or the data ended early.
        Stopped: SIGINT, SIGTERM, SIGHUP or ``stop``; the same call resumes there.
    """
    _check(config, steps_per_epoch, section, validating=validate is not None)
    steps = config.steps or config.epochs * steps_per_epoch
    validate_every = max(steps_per_epoch, steps // _MOST_VALIDATIONS)

    share = share or Share.whole(config)
    group = share.group
    if config.compiled and group.shards:
        raise InputError("train.compiled: found true, valid with --parallel fsdp: false; or --parallel ddp.")
    alone = config.threads != ONE_OR_IDLE or device != "cpu" or config.compiled or group.world > 1
    with (
        exclusive(directory) if group.leads else contextlib.nullcontext(),
        Threads(1 if alone else free_cores(workers)).of(model) as threads,
        torch_threads(workers, config.threads),
        float32_products(precision, device),  # of the backward passes, too
        reproducible(device, wanted=config.deterministic),
        stop_on_signals(stop) as request,
    ):
        model.to(device).train()
        if config.compiled:
            compile_blocks(model, precision, device)
        optimizer = build_optimizer(model, config, device, ratios=ratios)
        if group.leads:
            best.mend(directory)
        group.any(False)  # the others look for checkpoints after that
        checkpoints = Checkpoints(directory, stage, config.keep_checkpoints)
        state = checkpoints.resume(model, optimizer, group) or TrainState(stage)
        resumed_from = state.step
        _agree(group, state.step, directory)
        metrics = None
        if group.leads:
            metrics = MetricsLog(directory, step=state.step, sink=Sinks(directory, state.step, config, told or {}))
        session = Session(
            method=model,
            objective=objective,
            config=config,
            optimizer=optimizer,
            scaler=gradient_scaler(precision, device),
            precision=precision,
            device=device,
            seed=seed,
            steps=steps,
            steps_per_epoch=steps_per_epoch,
            directory=directory,
            clip_id=clip_id,
            checkpoints=checkpoints,
            state=state,
            metrics=metrics,
            share=share,
            parallel=parallel or model,
            threads=threads,
            section=section,
            about=about or {},
        )
        stream = moved(_stream(batches, state.step, steps, steps_per_epoch), device)
        stopped = False
        with (
            metrics or contextlib.nullcontext(),
            Progress(what, steps, done=state.step, unit="step", enabled=progress and group.leads) as bar,
        ):
            while not session.done:
                asked = time.monotonic()
                batch = None
                try:
                    batch = None if request.reason else next(stream)
                except Exception:
                    if not request.reason:  # a signal to all processes also ends those that read clips
                        raise
                waited = time.monotonic() - asked
                # One alone must not make the step, nor write a checkpoint of a model that all have parts of.
                stopped, saving = group.each(bool(request.reason), group.leads and session.save_due)
                if stopped or batch is None:
                    break
                fitting.step(session, batch, waited)
                bar.step(session.note())
                if after_epoch is not None and (session.done or state.step % steps_per_epoch == 0):
                    after_epoch(-(-state.step // steps_per_epoch))
                if validate is not None and (session.done or state.step % validate_every == 0):
                    session.write_row(tuning_loss=session.validate(validate()))
                elif session.row_due:
                    session.write_row(**({"tuning_loss": None} if validate is not None else {}))
                if saving:
                    session.save()
        stream.close()
        saved = session.save()
        if stopped or group.any(bool(request.reason)):
            reason = request.reason or "a signal to another of its processes"
            raise Stopped(
                f"training stopped by {reason} after step {state.step} of {steps}; its state is in {saved}."
                " The same command resumes there.",
                request.signal_number,
            )
        return TrainResult(
            weights=session.hand_over(),
            steps=steps,
            row=state.row,
            tuning_loss=state.best_loss,
            best_step=state.best_step,
            wall_s=session.elapsed,
            data_wait_share=state.waited_s / state.step_s if state.step_s else 0.0,
            resumed_from=resumed_from,
        )


def _check(config: TrainConfig, steps_per_epoch: int, section: str, *, validating: bool) -> None:
    if config.select == "best" and not validating:
        raise InputError("train.select: found best, valid: last, as there are no clips to tune on.")
    if steps_per_epoch < 1:
        raise InputError(
            f"{section}.batch_size: found {config.batch_size}, valid: at most the number of training clips."
        )


def _agree(group: ProcessGroup, step: int, directory: Path) -> None:
    mean = group.mean({"step": torch.tensor(float(step))})["step"].item()
    if mean != step:
        raise RunError(
            f"{directory}: process {group.rank} found a checkpoint of step {step}, others did not; valid: a folder that"
            " all processes share."
        )


def _stream(
    batches: Callable[[int, int], Iterable[TrainingBatch]], step: int, steps: int, steps_per_epoch: int
) -> Generator[TrainingBatch]:
    """Yields the batches of steps ``step`` to ``steps``, epoch after epoch."""
    while step < steps:
        epoch, start = divmod(step, steps_per_epoch)
        for batch in batches(epoch, start):
            step += 1
            yield batch
            if step == steps or step % steps_per_epoch == 0:
                break
        else:
            raise RunError(
                f"epoch {epoch + 1} gave {step - epoch * steps_per_epoch} batches instead of {steps_per_epoch}."
            )

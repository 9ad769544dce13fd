"""One session of training: the model, its optimiser and how far they are, and what is done with them at each step."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avbench.config import Precision, TrainConfig
from avbench.data.feed.batch import moved
from avbench.errors import RunError
from avbench.files import atomic_path, write_json
from avbench.methods import objectives
from avbench.methods.masking import MaskNoise
from avbench.rng import torch_stream
from avbench.training import best
from avbench.training.export import save_weights
from avbench.training.group import lost_companion
from avbench.training.metrics_log import Meter, MetricsLog, NonFinite
from avbench.training.objective import Objective, TrainingBatch
from avbench.training.optimizer import RATIO
from avbench.training.precision import autocast
from avbench.training.schedule import learning_rate
from avbench.training.share import Share
from avbench.training.state import Checkpoints, TrainState, writing
from avbench.training.threads import Threads

WEIGHTS = "weights.safetensors"  # what a finished run leaves in its folder
_CHECKPOINT_SHARE = 0.05  # of the time: where a checkpoint takes long, they come more rarely than asked for
_CLIPS_NAMED = 3  # of a batch that fails, in the message; the file beside it names all


@dataclass
class Session:
    """Everything that moves with a step."""

    method: nn.Module
    objective: Objective
    config: TrainConfig
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    precision: Precision
    device: str
    seed: int
    steps: int  # in all
    steps_per_epoch: int
    directory: Path
    clip_id: Callable[[int], str]
    checkpoints: Checkpoints
    state: TrainState
    metrics: MetricsLog | None  # the leading process's
    share: Share
    parallel: nn.Module  # the method, or what wraps it
    threads: Threads = field(default_factory=Threads)
    section: str = "train"  # of the settings, in messages
    about: Mapping[str, Any] = field(default_factory=dict)  # more that the weights' metadata say
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.state.meter)
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)
        self._begin = time.monotonic() - self.state.elapsed_s
        self._saved_step = self.state.step if self.checkpoints.last_good else -1
        self._next_save = time.monotonic() + self.config.checkpoint_seconds

    @property
    def done(self) -> bool:
        """Whether the last step was made."""
        return self.state.step >= self.steps

    @property
    def elapsed(self) -> float:
        """Seconds since the training began, without the times it was not running."""
        return time.monotonic() - self._begin

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return learning_rate(self.config, self.state.step, steps=self.steps, steps_per_epoch=self.steps_per_epoch)

    @property
    def row_due(self) -> bool:
        """Whether this step ends a row of metrics.csv."""
        return self.done or self.state.step % self.config.log_every == 0

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() >= self._next_save

    def step(self, batch: TrainingBatch, waited: float) -> None:
        """Makes one optimiser step.

        Args:
            batch: On the CPU or the device.
            waited: Seconds it was waited for.

        Raises:
            RunError: The loss is not finite.
        """
        begin = time.monotonic()
        # The draws of all processes' clips: which of them a clip gets must not depend on where it is computed.
        noise = self.objective.draw_noise(self.share.batch, torch_stream(self.seed, "mask", self.state.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group[RATIO]

        self.optimizer.zero_grad(set_to_none=True)
        with lost_companion():
            values = self.threads.step(self.method, lambda: self._differentiate(batch, noise))
            if self.config.clip_norm:
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.config.clip_norm)
            self.scaler.step(self.optimizer)
        self.scaler.update()

        self.state.step += 1
        self.meter.add(self.state.step, batch.index.tolist(), self.share.group.mean(values))
        if self.device == "cpu" or self.row_due:  # reading a value waits for the GPU
            self._collect()
        seconds = time.monotonic() - begin + waited
        self.meter.add_time(seconds, waited, self.share.batch)
        self.state.step_s += seconds
        self.state.waited_s += waited

    def _differentiate(self, batch: TrainingBatch, noise: MaskNoise) -> dict[str, Tensor]:
        """Fills the gradients with those of a step; returns the loss and its parts, of this process."""
        passes = self.share.passes
        size = self.share.clips // passes
        values: dict[str, Tensor] = {}
        for number in range(passes):
            part = slice(number * size, (number + 1) * size)
            last = number == passes - 1
            with contextlib.nullcontext() if last else self.share.group.own_gradients(self.parallel):
                # A pass that is one process's has nothing to share with those that others make meanwhile.
                with objectives.alone() if self.share.together else contextlib.nullcontext():
                    found = self.forward(batch, noise.part(self.share.rows(number)), part)
                self.scaler.scale(found.pop("objective") / passes).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                values[name] = values.get(name, 0.0) + value / passes
        return values

    def forward(self, batch: TrainingBatch, noise: MaskNoise, part: slice) -> dict[str, Tensor]:
        """Runs the model on a part of a batch; returns what to minimise, and the loss and its parts, detached.

        Args:
            batch: On the CPU or the device.
            noise: The draws of the part.
            part: Which clips.
        """
        with autocast(self.precision, self.device):
            output = self.objective.loss(batch, part, noise, self.device)
        return {"objective": output.loss, "loss": output.loss.detach(), **output.parts}

    def _collect(self) -> None:
        try:
            self.meter.collect()
        except NonFinite as fault:
            # The mean over the processes is not finite in all of them, at the same step.
            clips = [self.clip_id(i) for i in self.share.group.gathered(fault.clips)]
            report = self.directory / "nan_batch.json"
            values = {name: str(value) for name, value in fault.values.items()}
            epoch = (fault.step - 1) // self.steps_per_epoch + 1
            if self.share.group.leads:
                with writing(report, self.checkpoints.last_good):
                    write_json(report, {"step": fault.step, "epoch": epoch, "values": values, "clips": clips})
            named = ", ".join(clips[:_CLIPS_NAMED]) + (" ..." if len(clips) > _CLIPS_NAMED else "")
            raise RunError(
                f"the loss is {fault.values['loss']} at step {fault.step} of {self.steps}, on clips {named} (all"
                f" {len(clips)} in {report}); the last good checkpoint is {self.checkpoints.last_good or 'none'}. Try a"
                f" lower {self.section}.lr, {self.section}.clip_norm=1, or --precision fp32."
            ) from None

    @torch.no_grad()
    def validate(self, batches: Iterable[TrainingBatch]) -> float:
        """Returns the mean loss over the tuning clips, masked alike every time, and keeps the best weights.

        Raises:
            RunError: There are no clips, their loss is not finite, or the weights cannot be written.
        """
        self._collect()
        self.method.eval()
        losses: list[Tensor] = []  # read together at the end, so that a GPU need not be waited for at every batch
        sizes: list[int] = []
        for number, batch in enumerate(moved(batches, self.device)):
            n = len(batch.index)
            noise = self.objective.draw_noise(n, torch_stream(self.seed, "validation-mask", number))
            with objectives.alone():  # each process goes through all tuning clips, so that all know the loss
                losses.append(self.forward(batch, noise, slice(0, n))["loss"].double())
            sizes.append(n)
        self.method.train()
        if not sizes:
            raise RunError("the tuning split gave no batch; valid: at least one clip, or train.select=last.")
        total = sum(loss * n for loss, n in zip(torch.stack(losses).tolist(), sizes, strict=True))
        loss = float(total) / sum(sizes)
        if not math.isfinite(loss):
            raise RunError(
                f"the loss on the tuning split is {loss} after step {self.state.step} of {self.steps}; the last good"
                f" checkpoint is {self.checkpoints.last_good or 'none'}. Try a lower train.lr or train.clip_norm=1."
            )
        if self.state.best_loss is None or loss < self.state.best_loss:
            self.state.best_step, self.state.best_loss = self.state.step, loss
            place = best.replaced(self.directory) if self.share.group.leads else contextlib.nullcontext(self.directory)
            with writing(self.directory, self.checkpoints.last_good), place as path:
                self._write_weights(path, tuning_loss=loss)
        return loss

    def write_row(self, **more: float | None) -> None:
        """Appends a row to metrics.csv, with ``more`` columns after the loss parts."""
        self._collect()
        rates = self.meter.rates()
        row: dict[str, float | int | None] = {
            "step": self.state.step,
            "epoch": self.state.step / self.steps_per_epoch,
            "lr": self.optimizer.param_groups[0]["lr"],
            **self.meter.means(),
            **more,
            "clips_per_s": rates["clips_per_s"],
            "wall_s": self.elapsed,
            "data_wait_share": rates["data_wait_share"],
        }
        if self.metrics is not None:
            with writing(self.metrics.path, self.checkpoints.last_good):
                self.metrics.write(row)
        self.state.row = {name: value for name, value in row.items() if value is not None}
        self.meter.reset()

    def save(self) -> Path:
        """Writes a checkpoint of this very step, unless there is one; all processes must ask after the same step.

        Raises:
            RunError: The loss or a weight is not finite, or it cannot be written; the one before is untouched.
        """
        path = self.checkpoints.path(self.state.step)
        if self._saved_step == self.state.step:
            return path
        self._collect()
        self._check_weights()
        begin = time.monotonic()
        self.state.elapsed_s = self.elapsed
        self.state.meter = self.meter.sums
        self.state.scaler = self.scaler.state_dict()
        self.checkpoints.save(self.state, self.method, self.optimizer, self.share.group)
        self._saved_step = self.state.step
        end = time.monotonic()
        self._next_save = end + max(self.config.checkpoint_seconds, (end - begin) / _CHECKPOINT_SHARE)
        return path

    def _check_weights(self) -> None:
        """Checks every weight; what one process finds, all raise.

        A gradient can overflow where the loss did not; such weights must not become the last good ones.
        """
        group, names = self.share.group, [name for name, _ in self.method.named_parameters()]
        finite = torch.stack([torch.isfinite(group.local(each)).all() for each in self.method.parameters()]).tolist()
        first = min(group.gathered([finite.index(False) if False in finite else len(names)]))
        if first < len(names):
            raise RunError(
                f"weight {names[first]} is not finite after step {self.state.step} of {self.steps}; the last good"
                f" checkpoint is {self.checkpoints.last_good or 'none'}. Try a lower {self.section}.lr or"
                f" {self.section}.clip_norm=1."
            )

    def hand_over(self) -> Path:
        """Writes the selected weights, of the last or the best step, as the run's output; all processes must ask."""
        path = self.directory / WEIGHTS
        if self.config.select == "best" and self.state.best_step is not None:
            if self.share.group.leads:
                found = best.weights(self.directory)
                with writing(path, self.checkpoints.last_good), atomic_path(path) as temporary:
                    shutil.copyfile(found, temporary)
        else:
            self._write_weights(path)
        return path

    def _write_weights(self, path: Path, **more: float) -> None:
        weights = self.share.group.gather(self.method.state_dict())
        if self.share.group.leads:
            with writing(path, self.checkpoints.last_good):
                extra = {"step": self.state.step, "stage": self.state.stage, **self.about, **more}
                save_weights(path, self.method, weights=weights, extra=extra)

    def note(self) -> str:
        """Returns the mean loss and parts since the last row, and the speed, as a short text."""
        means, rates = self.meter.means() or self.state.row, self.meter.rates()
        skip = {"step", "epoch", "lr", "wall_s", "clips_per_s", "data_wait_share"}
        parts = [f"{name} {value:.4g}" for name, value in means.items() if name not in skip]
        if rates["clips_per_s"]:
            parts.append(f"{rates['clips_per_s']:.4g} clips/s")
        return ", ".join(parts)

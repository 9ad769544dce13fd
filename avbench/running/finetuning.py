"""Fine-tuning: a method's encoder and a new head trained on labels, in one mode (paper 3, Table 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.data.progress import Progress
from avbench.errors import InputError
from avbench.processes import free_port
from avbench.running import weights
from avbench.running.identity import Finetuning
from avbench.settings import to_dict
from avbench.tasks.labels import LabelPair, read_pair
from avbench.training import trained_on

if TYPE_CHECKING:
    from avbench.encoders.judged import Judged
    from avbench.methods.classifier import Classifier
    from avbench.running.execution import Execution
    from avbench.training.group import ProcessGroup

ABOUT = "finetuned"  # in the metadata of the weights: what builds the model again


def compute(stage: Finetuning, execution: Execution) -> dict[str, Any]:
    """Fine-tunes a method, or resumes where it was stopped; returns the figures of it.

    Raises:
        InputError: Labels cannot be used, or there are fewer clips than a batch.
        RunError: Training failed; what it kept is in the stage's folder.
    """
    from avbench.training.device import gpus

    told = {"mode": stage.mode, "n": len(stage.train)}
    # On a CPU one process has all cores already, and its numbers are the same to the bit.
    world = min(execution.processes, len(gpus())) if execution.device == "cuda" else 1
    if world < 2:
        train(stage, execution.device, progress=execution.progress)
        return told
    together(stage, execution.device, world, progress=execution.progress)
    return {**told, "processes": world}


def together(stage: Finetuning, device: str, world: int, *, progress: bool) -> None:
    """Fine-tunes in several processes, each with its share of every batch.

    Args:
        stage: What is trained.
        device: Each process takes one of this machine's.
        world: How many.
        progress: Whether to show a bar.

    Raises:
        InputError: A batch cannot be divided.
        RunError: Training failed in one of them; the message names it.
    """
    from avbench.running import crew

    options = stage.options
    if options.batch_size % world:
        raise InputError(
            f"task.batch_size: found {options.batch_size}, valid for {world} processes, among which each batch is"
            f" divided: a multiple of {world}; or give other --processes."
        )
    epochs = -(-options.steps // max(1, len(stage.train) // options.batch_size)) or options.epochs
    done = 0
    with Progress(f"fine-tune {stage.mode}", epochs, unit="epoch", enabled=progress) as bar:

        def report(epoch: int) -> None:
            nonlocal done
            bar.step(count=epoch - done)  # of a resumed training the first is not 1
            done = epoch

        crew.run(Together(stage=stage, device=device, threads=1, port=free_port()), world, report)


@dataclass(frozen=True, kw_only=True)
class Together:
    """A fine-tuning of which several processes compute each step: see :class:`avbench.running.crew.Shared`.

    Attributes:
        stage: What is trained.
        device: Each process takes one of this machine's.
        threads: Of torch, in each process.
        port: Where they meet.
    """

    stage: Finetuning
    device: str
    threads: int
    port: int
    name: str = "fine-tuning"

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return self.stage.folder

    def variables(self, rank: int, world: int) -> dict[str, str]:
        """Returns what torchrun would set."""
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.port),
        }

    def compute_share(self, rank: int, world: int, report: Callable[[int], None]) -> None:
        """Fine-tunes in parallel with the others.

        Args:
            rank: Which of the processes this is.
            world: How many there are.
            report: Takes each epoch that is done, from the first of them.
        """
        from avbench.training.group import join

        with join(self.device) as group:
            train(self.stage, self.device, progress=False, group=group, report=report)


def train(
    stage: Finetuning,
    device: str,
    *,
    progress: bool,
    group: ProcessGroup | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> None:
    """Fine-tunes in this process, alone or beside others.

    Args:
        stage: What is trained.
        device: Where.
        progress: Whether to show a bar.
        group: The processes that train it together; None: this one.
        report: Told of each epoch that is done.
    """
    from avbench.training.finetune import Work, finetune
    from avbench.training.group import ProcessGroup

    config, options = stage.config, stage.options
    labels = read_pair(stage.train, stage.evaluated, kind=options.target, label=options.label, warn=False)
    group = group or ProcessGroup()
    finetune(
        _classifier(stage, weights.load(config, stage.after, device)),
        stage.train,
        labels.train,
        config.input,
        options,
        mode=stage.mode,
        loss=options.loss_for(single=labels.single),
        work=Work(
            folder=stage.folder,
            stage=stage.id,
            device=device,
            precision=config.precision,
            seed=config.seed,
            train=config.train,
            progress=progress,
            told={"name": f"{config.method_name} fine-tune {stage.mode} seed {config.seed}", **config.to_dict()},
            about={**(trained_on.write(stage.folder, stage.train.ids) if group.leads else {}), **_about(stage, labels)},
            group=group,
            report=report,
        ),
    )


def _about(stage: Finetuning, labels: LabelPair) -> dict[str, Any]:
    """Returns what it takes to build the model again and to name its classes, for the file of its weights."""
    config, options = stage.config, stage.options
    found = {
        "method": config.method_name,
        "source": registry.find("method", config.method_name).source,
        "checkpoint": str(config.checkpoint or ""),
        "settings": to_dict(config.method),
        "model": to_dict(config.model),
        "input": to_dict(config.input),
        "data": {"n_frames": config.data.n_frames, "sampling": config.data.sampling},
        "classes": list(labels.classes),
        "loss": options.loss_for(single=labels.single),
        "head": {"head": options.head, "streams": options.streams, "n_frames": _frames(stage)},
    }
    return {ABOUT: found}


def read(stage: Finetuning, device: str) -> Classifier:
    """Returns the model of a stage that is done, in evaluation mode on a device."""
    from avbench.training.checkpoints import load_weights
    from avbench.training.finetune import FINETUNED

    model = _classifier(stage, weights.load(stage.config, (), device))
    load_weights(model, stage.folder / FINETUNED)
    return model.to(device).eval()


def _classifier(stage: Finetuning, judged: Judged) -> Classifier:
    """Returns the model to fine-tune; its head is a function of the seed."""
    options = stage.options
    labels = read_pair(stage.train, stage.evaluated, kind=options.target, label=options.label, warn=False)
    return judged.classifier(
        len(labels.classes),
        mode=stage.mode,
        head=options.head,
        streams=options.streams,
        n_frames=_frames(stage),
        seed=stage.config.seed,
    )


def _frames(stage: Finetuning) -> int:
    """Returns the frames of a clip, for the one head whose size depends on them."""
    clips = stage.train
    return max(map(clips.n_frames, range(len(clips))), default=1) if stage.options.head == "concat" else 1

"""Fine-tuning: a method's encoder and a new head trained on labels, in one mode (paper 3, Table 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avbench.running import encoded, weights
from avbench.running.identity import Finetuning
from avbench.settings import to_dict
from avbench.tasks.labels import LabelPair, read_pair
from avbench.training import trained_on

if TYPE_CHECKING:
    from avbench.encoders.adapted import Adapted
    from avbench.methods.base import Method
    from avbench.methods.classifier import Classifier
    from avbench.running.execution import Execution

ABOUT = "finetuned"  # in the metadata of the weights: what builds the model again


def compute(stage: Finetuning, execution: Execution) -> dict[str, Any]:
    """Fine-tunes a method, or resumes where it was stopped; returns the figures of it.

    Raises:
        InputError: Labels cannot be used, or there are fewer clips than a batch.
        RunError: Training failed; what it kept is in the stage's folder.
    """
    from avbench.training.finetune import Work, finetune

    config, options = stage.config, stage.options
    labels = read_pair(stage.train, stage.evaluated, kind=options.target, label=options.label, warn=False)
    finetune(
        _classifier(stage, weights.load(config, stage.after, execution.device)),
        stage.train,
        labels.train,
        config.input,
        options,
        mode=stage.mode,
        loss=options.loss_for(single=labels.single),
        work=Work(
            folder=stage.folder,
            stage=stage.id,
            device=execution.device,
            precision=config.precision,
            seed=config.seed,
            train=config.train,
            progress=execution.progress,
            about={**trained_on.write(stage.folder, stage.train.ids), **_about(stage, labels)},
        ),
    )
    return {"mode": stage.mode, "n": len(stage.train)}


def _about(stage: Finetuning, labels: LabelPair) -> dict[str, Any]:
    """Returns what it takes to build a method's model again and to name its classes, for the file of its weights."""
    config, options = stage.config, stage.options
    if encoded.is_encoder(config):
        return {}
    found = {
        "method": config.method_name,
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

    first = encoded.load(stage.config, device) if encoded.is_encoder(stage.config) else weights.build(stage.config)
    model = _classifier(stage, first)
    load_weights(model, stage.folder / FINETUNED)
    return model.to(device).eval()


def _classifier(stage: Finetuning, method: Method | Adapted) -> Classifier:
    """Returns the model to fine-tune; its encoder is the method's, its head a function of the seed."""
    from avbench.encoders import finetuned
    from avbench.encoders.adapted import Adapted
    from avbench.methods.classifier import build_classifier

    clips, options = stage.train, stage.options
    labels = read_pair(clips, stage.evaluated, kind=options.target, label=options.label, warn=False)
    if isinstance(method, Adapted):
        model = finetuned.build_classifier(
            method,
            len(labels.classes),
            mode=stage.mode,
            head=options.head,
            streams=options.streams,
            seed=stage.config.seed,
        )
        return model.to(method.device)
    return build_classifier(
        method,
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

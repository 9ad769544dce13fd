"""The classes of a video by a fine-tuned model, ours or the authors', with their probabilities."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.config import DataConfig, FinetuneConfig, InputConfig, ModelConfig, Precision, RunConfig, TrainConfig
from avbench.data.wants import Wants
from avbench.errors import InputError
from avbench.files.paths import check_is_file
from avbench.methods.classifier import Classifier
from avbench.registry import encoders
from avbench.running import encoded, weights
from avbench.running.embed import windows_of
from avbench.running.finetuning import ABOUT
from avbench.running.request import frames_of
from avbench.settings import build, change
from avbench.training.classifier_weights import read_classifier
from avbench.training.device import resolve_device
from avbench.training.finetune import Loss, Work
from avbench.training.precision import resolve_precision
from avbench.training.probabilities import predict

log = logging.getLogger("avbench")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Probabilities of one window of a video.

    Attributes:
        start: Of the window, in seconds of the video.
        end: Likewise.
        probabilities: (C,) float32, of the classes in the model's order.
    """

    start: float
    end: float
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A fine-tuned model that names what it predicts.

    Attributes:
        model: In evaluation mode on ``device``.
        input: What it hears and sees.
        frames: How many frames of a window, and when.
        wants: What it hears and sees where it is anybody's encoder, in place of these.
        classes: Names, in the order of its outputs.
        mode: Which modalities it reads; see :data:`avbench.methods.classifier.MODES`.
        loss: ``ce``: classes exclude each other (softmax); ``bce``: they do not (sigmoid).
        device: Where it computes.
        precision: The arithmetic.
    """

    model: Classifier
    input: InputConfig
    frames: DataConfig
    wants: Wants | None = None
    classes: tuple[str, ...]
    mode: str
    loss: Loss
    device: str
    precision: Precision

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        *,
        encoder: str = "",
        labels: Path | None = None,
        mode: str = "",
        device: str = "auto",
        precision: str = "auto",
    ) -> Predictor:
        """Reads a fine-tuned model; ours says all of itself, the authors' only its sizes.

        Args:
            checkpoint: ``finetuned.safetensors`` of a run here, or the authors' file.
            encoder: Where it is of anybody's encoder, what finds that: a file's word is not enough to run code.
            labels: Their label CSV (index,mid,display_name); None: of the catalogue's set with as many classes.
            mode: Which modalities it reads; "": those it was fine-tuned on, or both.
            device: ``auto``, ``cpu`` or ``cuda``.
            precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

        Raises:
            InputError: No fine-tuned model, or its classes have no names.
        """
        from avbench.training.inspect import describe
        from avbench.training.weights_file import read_checkpoint

        check_is_file(checkpoint, "--checkpoint", "the path of a .pth or .safetensors file")
        where = resolve_device(device)
        read = read_checkpoint(checkpoint)
        about = read.metadata.get(ABOUT)
        found = describe(read.state, read.metadata)
        if isinstance(about, Mapping):
            if labels is not None:
                raise InputError(f"--labels: not used with {checkpoint}, which names its classes; leave it out.")
            parts = _ours(checkpoint, about, str(read.metadata.get("mode", "")), encoder, where)
        elif encoder:
            raise InputError(f"--encoder {encoder}: not used with {checkpoint}, {found.summary}; leave it out.")
        elif found.kind == "fine-tuned" and found.model:
            found.check_told(checkpoint, ())
            parts = _authors(checkpoint, found.n_classes, found.model, found.input, labels, mode or "multimodal")
        else:
            raise InputError(
                f"--checkpoint {checkpoint}: found {found.summary}, valid: a fine-tuned model, such as"
                " RESULTS/stages/finetune/ID/finetuned.safetensors of --task classification, or the authors'."
            )
        parts["model"].to(where).eval()
        parts["mode"] = mode or parts["mode"]
        if precision == "auto" and parts.get("wants") is not None:
            precision = "fp32"  # an encoder computes as it is written
        return cls(**parts, device=where, precision=resolve_precision(precision, where))

    def predict(self, video: Path) -> list[Prediction]:
        """Returns the probabilities of each window of a video, as long as the model hears.

        A last window of less than half that length is left out, unless it is the only one.

        Raises:
            InputError: The file is not there, or nothing in it can be used.
        """
        clips, _ = windows_of(video, self.input, self.frames, self.wants)
        whole = clips.windows[0].duration / 2
        clips = clips.select([i for i, window in enumerate(clips.windows) if window.duration >= whole])
        work = Work(
            folder=video.parent,
            stage="",
            device=self.device,
            precision=self.precision,
            seed=0,
            train=TrainConfig(workers=0),
            progress=False,
        )
        scores = predict(self.model, clips, self.input, modes=(self.mode,), loss=self.loss, frames="all", work=work)[
            self.mode
        ]
        return [
            Prediction(start=window.start, end=window.start + window.duration, probabilities=row)
            for window, row in zip(clips.windows, scores, strict=True)
        ]


def _ours(checkpoint: Path, about: Mapping[str, Any], mode: str, encoder: str, device: str) -> dict[str, Any]:
    """Returns the parts of a model that was fine-tuned here.

    Args:
        checkpoint: Its weights.
        about: What they tell of it.
        mode: What it was fine-tuned in.
        encoder: What finds the encoder, where it is of one.
        device: Where to compute.

    Raises:
        InputError: It is of an encoder that is not named, or of a method, and one is.
    """
    from avbench.training.checkpoints import load_weights

    entry = _entry(checkpoint, str(about["method"]), encoder)
    if entry.source != about.get("source", entry.source):
        log.warning("%s: fine-tuned with other code of %s; its numbers may be others", checkpoint, entry.shown)
    config = RunConfig(
        method_name=entry.name,
        task_name="classification",
        data=build(DataConfig, about["data"], "data"),
        input=build(InputConfig, about["input"], "input"),
        model=build(ModelConfig, about["model"], "model"),
        method=change(entry.config_class(), about["settings"], entry.section),
        train=TrainConfig(),
        task=FinetuneConfig(),
        seed=0,
        precision="fp32",
        weights="checkpoint",
        # An encoder may be built from its file; a method is told all, and its values are about to be replaced.
        checkpoint=Path(about["checkpoint"]) if entry.encoder and about["checkpoint"] else None,
    )
    judged = weights.load(config, (), device)
    model = judged.classifier(len(about["classes"]), mode=mode, **about["head"], seed=config.seed)
    load_weights(model, checkpoint)
    return {
        "model": model,
        "input": config.input,
        "frames": config.data,
        "wants": encoded.wants(config),
        "classes": tuple(about["classes"]),
        "mode": mode,
        "loss": about["loss"],
    }


def _entry(checkpoint: Path, told: str, encoder: str) -> registry.Component:
    """Returns the method or encoder that a file tells of: code that is not installed runs where its name is given.

    Args:
        checkpoint: The file.
        told: What it tells.
        encoder: What the user names.

    Raises:
        InputError: It has to be named, or must not be.
    """
    if told in registry.entries("method"):
        if encoder:
            raise InputError(f"--encoder {encoder}: not used with {checkpoint}, a model of {told}; leave it out.")
        return registry.find("method", told)
    if not encoder and told not in encoders.names():
        raise InputError(f"--checkpoint {checkpoint}: found a model of {told}, valid with --encoder {told}.")
    return registry.encoder(encoder or told)


def _authors(
    checkpoint: Path,
    count: int,
    model: Mapping[str, Any],
    input: Mapping[str, Any],
    labels: Path | None,
    mode: str,
) -> dict[str, Any]:
    """Returns the parts of a fine-tuned CAV-MAE that says nothing of itself; 309 classes exclude each other."""
    from avbench.data.catalogue.entry import entry, names

    known = next((found for found in map(entry, names()) if len(found.classes) == count), None)
    if labels is not None:
        from avbench.data.corpus.authors_manifest import read_labels

        classes = tuple(read_labels(labels).values())
    elif known is not None:
        classes = known.class_names
    else:
        raise InputError(f"--labels: found nothing, valid: a CSV (index,mid,display_name) of the {count} classes.")
    if len(classes) != count:
        raise InputError(f"--labels {labels}: found {len(classes)} classes, valid: {count}, those of {checkpoint}.")
    sees = change(InputConfig(), input, "input")
    return {
        "model": read_classifier(checkpoint, change(ModelConfig(), model, "model"), sees, mode=mode),
        "input": sees,
        "frames": frames_of(registry.find("method", "cavmae").card),
        "classes": classes,
        "mode": mode,
        "loss": "ce" if known is not None and not known.multi_label else "bce",
    }

"""Classification: a method fine-tuned end to end with labels, on sound, picture, or both (paper Tables 1 and 2f-2h).

Source: paper 3 and Table 4; docs/protocol/cavmae.md 3.3-3.4; CAV-MAE Sync's probe of frames,
docs/protocol/cavmae_sync.md 1.9 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.config import FinetuneConfig, RunConfig
from avbench.errors import InputError
from avbench.files.paths import check_is_file
from avbench.metrics.evidence import Evidence
from avbench.store import seal
from avbench.tasks import linear_probe
from avbench.tasks.base import FINETUNED, Outputs, Task, TaskCard, TaskResult
from avbench.tasks.labels import LabelPair, check_labels, parts, read_labels, read_pair
from avbench.tasks.linear_probe import LinearProbeConfig, result_of

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.methods.classifier import Classifier
    from avbench.tasks.subject import Subject

Scores = npt.NDArray[np.float32]

# What the scores of each mode are called; of the last two, the modality that a model of both had to do without.
STREAMS = {
    "multimodal": "joint",
    "audioonly": "audio",
    "videoonly": "visual",
    "missingaudioonly": "missing_visual",
    "missingvideoonly": "missing_audio",
}
ENSEMBLE = "ensemble"

CARD = TaskCard(
    summary="fine-tune end to end on sound, picture or both: accuracy or mAP, also with a modality missing",
    needs=("finetuned", "training clips", "scores"),
    abilities=("vectors",),
    columns=("top1", "top5", "mAP", "d_prime"),
)


class Classification(Task[FinetuneConfig]):
    """Judges models that were fine-tuned on the training clips, one a mode, each once on the evaluated ones."""

    name = "classification"
    version = 2  # 2: streams SM end to end, Wilson's intervals of top-k
    config_type = FinetuneConfig

    def check(self, config: RunConfig) -> None:
        """Refuses modes that need a modality which the method does not take, and encoders that would not be used."""
        method = registry.find("method", config.method_name)
        cast(FinetuneConfig, config.task).modes_for(tuple(method.card["modalities"]), config.method_name)
        if method.encoder and cast(FinetuneConfig, config.task).weights:
            raise InputError("task.weights: not used with an encoder, valid: nothing; --checkpoint is for its weights.")
        if method.origin != registry.OWN and not method.encoder:  # whose encoder may not be one that can be fine-tuned
            import torch

            with torch.device("meta"):
                method.load().METHOD(config.method, config.model, config.input).encoder_to_finetune()

    def run(self, subject: Subject, config: FinetuneConfig) -> TaskResult:
        """Judges the fine-tuned models; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Labels or options cannot be used.
            RunError: A clip cannot be read, or a probability is not finite.
        """
        modes = config.modes_for(subject.modalities, subject.config.method_name)
        labels = read_pair(subject.train, subject.evaluated, kind=config.target, label=config.label)
        found: dict[str, Scores] = {}
        for mode in modes:
            found |= _mode_scores(subject, config, labels, mode)
        scores = {STREAMS[mode]: values for mode, values in found.items()}
        if {"audio", "visual"} <= scores.keys():
            scores[ENSEMBLE] = ensemble(scores["audio"], scores["visual"])
        return report(list(subject.evaluated.ids), scores, labels, config)

    def evaluate_scores(
        self, scores: Mapping[str, npt.NDArray[Any]], clips: Clips, config: FinetuneConfig
    ) -> TaskResult:
        """Judges the probabilities that anybody's classifier gave; see the base class."""
        labels = read_labels(clips, parts(clips.class_names, config.label))
        single = labels.single if config.target == "auto" else config.target == "single"
        for stream, values in scores.items():
            if values.shape[1] != len(labels.classes):
                raise InputError(
                    f"{stream}/scores: found {values.shape[1]} columns and {len(labels.classes)} classes, valid: a"
                    " column a class; name the columns in an array 'classes'."
                )
        return report(list(clips.ids), dict(scores), LabelPair(labels, labels, single), config)

    def evidence(self, outputs: Outputs, config: FinetuneConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        return linear_probe.evidence(outputs, config.absent)

    def spared(self, config: FinetuneConfig) -> frozenset[str]:
        """Returns that weights which are given need no training."""
        return frozenset({FINETUNED} if config.weights else ())

    def finetuning(self, config: FinetuneConfig) -> FinetuneConfig:
        """Returns the recipe: its options."""
        return config

    def check_clips(self, train: Clips | None, evaluated: Clips, config: FinetuneConfig) -> None:
        """Refuses labels that cannot be used; see the base class."""
        check_labels(train, evaluated, kind=config.target, label=config.label)

    def given_weights(self, config: FinetuneConfig) -> str:
        """Returns the file of fine-tuned weights, where it is given: nothing is trained then."""
        return config.weights

    def probabilities(self, outputs: Outputs, stream: str) -> npt.NDArray[Any]:
        """Returns class probabilities, which are kept as they are; see the base class."""
        return linear_probe.kept_scores(outputs, stream, self.name)

    def files(self, config: FinetuneConfig) -> dict[str, str]:
        """Returns the hash of the fine-tuned weights, where they are given."""
        if not config.weights:
            return {}
        check_is_file(Path(config.weights), "task.weights:", "the path of a .pth or .safetensors file")
        return {"weights": seal.sha256(Path(config.weights))}


def ensemble(audio: npt.NDArray[Any], visual: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the scores of two single-modal models together, (n, C): the mean of their probabilities (paper Table 1).

    They may come from two runs, such as Audio-MAE's and Visual-MAE's, on the same clips: a run keeps what its task's
    ``probabilities`` makes probabilities of. Of logarithms, the mean would be that of another ensemble.

    Args:
        audio: Probabilities, (n, C).
        visual: Likewise.

    Raises:
        InputError: Their shapes differ.
    """
    if audio.shape != visual.shape:
        raise InputError(f"ensemble: found scores of shapes {audio.shape} and {visual.shape}, valid: the same.")
    mean: npt.NDArray[Any] = (audio + visual) / 2
    return mean


def report(ids: list[str], scores: dict[str, Scores], labels: LabelPair, config: FinetuneConfig) -> TaskResult:
    """Returns metrics, chance, intervals and per-sample outputs of probabilities (n, C).

    Args:
        ids: Of the n clips.
        scores: Probabilities by stream, (n, C) each.
        labels: Classes of the clips.
        config: The task's options.
    """
    options = LinearProbeConfig(absent=config.absent, resamples=config.resamples, bootstrap_seed=config.bootstrap_seed)
    return result_of(ids, scores, labels, options)


def _mode_scores(subject: Subject, config: FinetuneConfig, labels: LabelPair, mode: str) -> dict[str, Scores]:
    """Returns the probabilities of one fine-tuned model, by mode: its own and, of both modalities, the missing ones."""
    from avbench.training.finetune import Work
    from avbench.training.probabilities import predict

    run = subject.config
    model = _given(subject, config, labels, mode) if config.weights else subject.classifier(mode)
    return predict(
        model,
        subject.evaluated,
        run.input,
        modes=(mode, *model.missing_modes) if mode == "multimodal" and config.missing else (mode,),
        loss=config.loss_for(single=labels.single),
        frames=config.frames,
        work=Work(
            folder=subject.folder,
            stage=subject.folder.name,
            device=subject.device,
            precision=run.precision,
            seed=run.seed,
            train=run.train,
            progress=subject.progress,
        ),
    )


def _given(subject: Subject, config: FinetuneConfig, labels: LabelPair, mode: str) -> Classifier:
    """Returns the model of ``task.weights``."""
    from avbench.training.classifier_weights import read_classifier

    run, classes = subject.config, len(labels.classes)
    model = read_classifier(
        Path(config.weights), run.model, run.input, n_classes=classes, mode=mode, streams=config.streams
    )
    return model.to(subject.device).eval()


CONFIG = FinetuneConfig
TASK = Classification()

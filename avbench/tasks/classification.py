"""Classification: a method fine-tuned end to end with labels, on sound, picture, or both (paper Tables 1 and 2f-2h).

Source: paper 3 and Table 4; docs/protocol/cavmae.md 3.3-3.4; CAV-MAE Sync's probe of frames,
docs/protocol/cavmae_sync.md 1.9 and 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.config import FinetuneConfig
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.metrics.evidence import Evidence
from avbench.tasks import linear_probe
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult
from avbench.tasks.labels import LabelPair, check_classes, read_pair
from avbench.tasks.linear_probe import LinearProbeConfig, result_of
from avbench.training import trained_on

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.methods.classifier import Classifier
    from avbench.running.request import RunConfig
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
ALL = "all"
_MODALITIES = {"multimodal": ("audio", "visual"), "audioonly": ("audio",), "videoonly": ("visual",)}

CARD = TaskCard(
    summary="fine-tune end to end on sound, picture or both: accuracy or mAP, also with a modality missing",
    needs=("weights", "training clips"),
    abilities=("vectors",),
    columns=("top1", "top5", "mAP", "d_prime"),
)


class Classification(Task[FinetuneConfig]):
    """Fine-tunes one model a mode on the training clips, and judges each once on the evaluated ones."""

    name = "classification"
    version = 2  # 2: streams SM end to end, Wilson's intervals of top-k
    config_type = FinetuneConfig

    def check(self, config: RunConfig) -> None:
        """Refuses modes that need a modality which the method does not take, and encoders that would not be used."""
        method = registry.find("method", config.method_name)
        modes_of(cast(FinetuneConfig, config.task), tuple(method.card["modalities"]), config.method_name)
        if method.origin != registry.OWN:  # whose encoder may not be one that can be fine-tuned
            import torch

            with torch.device("meta"):
                method.load().METHOD(config.method, config.model, config.input).encoder_to_finetune()

    def run(self, subject: Subject, config: FinetuneConfig) -> TaskResult:
        """Fine-tunes and judges; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Labels or options cannot be used, or there are fewer clips than a batch.
            RunError: Training failed; what it kept is in the subject's folder.
        """
        modes = modes_of(config, subject.modalities, subject.config.method_name)
        labels = read_pair(subject.train, subject.evaluated, kind=config.target, label=config.label)
        loss: Literal["bce", "ce"] = ("ce" if labels.single else "bce") if config.loss == "auto" else config.loss
        found: dict[str, Scores] = {}
        for mode in modes:
            found |= _mode_scores(subject, config, labels, mode, loss)
        scores = {STREAMS[mode]: values for mode, values in found.items()}
        if {"audio", "visual"} <= scores.keys():
            scores[ENSEMBLE] = ensemble(scores["audio"], scores["visual"])
        return report(list(subject.evaluated.ids), scores, labels, config)

    def evidence(self, outputs: Outputs, config: FinetuneConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        return linear_probe.evidence(outputs, config.absent)

    def given_weights(self, config: FinetuneConfig) -> str:
        """Returns the file of fine-tuned weights, where it is given: nothing is trained then."""
        return config.weights

    def check_classes(self, train: Clips, evaluated: Clips, config: FinetuneConfig) -> None:
        """Refuses classes that the training clips' data do not know; see the base class."""
        check_classes(train, evaluated, label=config.label)

    def probabilities(self, outputs: Outputs, stream: str) -> npt.NDArray[Any]:
        """Returns class probabilities, which are kept as they are; see the base class."""
        return linear_probe.kept_scores(outputs, stream, self.name)

    def files(self, config: FinetuneConfig) -> dict[str, str]:
        """Returns the hash of the fine-tuned weights, where they are given."""
        if not config.weights:
            return {}
        if not Path(config.weights).is_file():
            raise InputError(f"task.weights: {config.weights}: no such file.")
        return {"weights": sha256_file(Path(config.weights))}


def modes_of(config: FinetuneConfig, modalities: tuple[str, ...], method: str) -> tuple[str, ...]:
    """Returns the modes to fine-tune, each once.

    Args:
        config: The task's options.
        modalities: Those the method takes.
        method: Its name, for an error.

    Raises:
        InputError: A mode that needs a modality which the method does not take.
    """
    possible = [mode for mode, needed in _MODALITIES.items() if set(needed) <= set(modalities)]
    for mode in config.modes:
        if mode not in (*possible, ALL):
            raise InputError(f"task.modes: found {mode}, valid: {', '.join(possible)}, {ALL}, for method '{method}'.")
    if ALL in config.modes:
        return tuple(possible)
    return tuple(dict.fromkeys(config.modes)) or (possible[0],)


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


def _mode_scores(
    subject: Subject, config: FinetuneConfig, labels: LabelPair, mode: str, loss: Literal["bce", "ce"]
) -> dict[str, Scores]:
    """Returns the probabilities of one fine-tuned model, by mode: its own and, of both modalities, the missing ones."""
    from avbench.training.finetune import Work, finetune, predict

    run, folder = subject.config, subject.folder / mode
    work = Work(
        folder=folder,
        stage=f"{subject.folder.name}-{mode}",
        device=subject.device,
        precision=run.precision,
        seed=run.seed,
        train=run.train,
        progress=subject.progress,
        about={} if config.weights else trained_on.write(folder, subject.train.ids),
    )
    model = _model(subject, config, labels, mode)
    if not config.weights:
        finetune(model, subject.train, labels.train, run.input, config, mode=mode, loss=loss, work=work)
    modes = (mode, *model.missing_modes) if mode == "multimodal" and config.missing else (mode,)
    return predict(
        model.to(subject.device).eval(),
        subject.evaluated,
        run.input,
        modes=modes,
        loss=loss,
        frames=config.frames,
        work=work,
    )


def _model(subject: Subject, config: FinetuneConfig, labels: LabelPair, mode: str) -> Classifier:
    """Returns the model to fine-tune, or the one of ``task.weights``."""
    run, classes = subject.config, len(labels.classes)
    if config.weights:
        from avbench.training.classifier_weights import read_classifier

        return read_classifier(
            Path(config.weights), run.model, run.input, n_classes=classes, mode=mode, streams=config.streams
        )
    from avbench.methods.classifier import build_classifier

    clips = subject.train
    n_frames = max(map(clips.n_frames, range(len(clips))), default=1) if config.head == "concat" else 1
    return build_classifier(
        subject.method(),
        classes,
        mode=mode,
        head=config.head,
        streams=config.streams,
        n_frames=n_frames,
        seed=run.seed,
    )


CONFIG = FinetuneConfig
TASK = Classification()

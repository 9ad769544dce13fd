"""Linear probe: what a LayerNorm and a linear layer read from frozen vectors of sound, picture, and both.

Source: docs/protocol/cavmae.md 3.3 (head) and 3.4 (metrics). The recipe is ours; the paper's form (Tables 2i, 10) is
task ``classification`` with ``task.freeze=true``, which trains the same head inside the fine-tuning loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.metrics import classification as metric
from avbench.metrics.classification_intervals import intervals
from avbench.metrics.evidence import Evidence, joined, of_means, of_scores
from avbench.settings import Settings, setting
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult
from avbench.tasks.labels import LabelPair, check_labels, read_pair
from avbench.tasks.streams import Frames, Joint, streams
from avbench.tasks.subject import Part

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]

PARTS: tuple[Part, Part] = ("train", "evaluated")
KEPT_SCORES = 2**24  # scores of a stream that are kept for each clip and class: 64 MB

CARD = TaskCard(
    summary="train a LayerNorm and a linear layer on frozen vectors of sound, picture and both: accuracy or mAP",
    needs=("vectors", "training vectors", "training clips"),
    abilities=("vectors",),
    columns=("top1", "top5", "mAP", "d_prime"),
)


@dataclass(frozen=True, kw_only=True)
class LinearProbeConfig(Settings):
    """Options of the linear probe."""

    target: Literal["auto", "single", "multi"] = setting(
        "auto", "labels a clip: one (cross-entropy), any number (binary), or as the training clips have them"
    )
    label: str = setting("", "parts of the class names to predict, such as shape+pitch or 1+2; empty: whole names")
    frames: Frames = setting("mean", "vectors of several frames (Sync): mean or concatenated")
    joint: Joint = setting(
        "joint", "audio-visual vector: of the joint stream (paper), or those of the two single streams end to end"
    )
    optimizer: Literal["lbfgs", "adam"] = setting("lbfgs", "lbfgs: full batch; adam: mini-batches, for large sets")
    weight_decays: tuple[float, ...] = setting(
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0), "weight decays of lbfgs to choose from", ge=0
    )
    learning_rates: tuple[float, ...] = setting(
        (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), "learning rates of adam to choose from", gt=0
    )
    iterations: int = setting(100, "maximum iterations of lbfgs", ge=1)
    epochs: int = setting(20, "passes of adam over the training clips", ge=1)
    batch_size: int = setting(256, "clips per step of adam", ge=1)
    validation_fraction: float = setting(0.2, "share of the training clips, class by class, to choose with", gt=0, lt=1)
    absent: metric.Absent = setting(
        "present", "classes no evaluated clip has: left out of mAP and mAUC, or AP 0 and AUC -1 (reference)"
    )
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)


class LinearProbe(Task[LinearProbeConfig]):
    """One probe a stream, each with its own sweep; chosen on training clips, judged once on the evaluated ones."""

    name = "linear_probe"
    version = 2  # 2: Wilson's intervals of top-k
    config_type = LinearProbeConfig

    def check(self, config: RunConfig) -> None:
        """Refuses a sweep without values."""
        _sweep(cast(LinearProbeConfig, config.task))

    def run(self, subject: Subject, config: LinearProbeConfig) -> TaskResult:
        """Trains and judges the probes; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Labels or vectors cannot be used, or there are too few clips.
        """
        from avbench.training.probe import ProbeRecipe, fit

        sweep = _sweep(config)
        labels = read_pair(subject.train, subject.evaluated, kind=config.target, label=config.label)
        target = labels.train.targets(single=labels.single)
        vectors, judged = (streams(subject, part, frames=config.frames, joint=config.joint) for part in PARTS)
        recipe = ProbeRecipe(
            optimizer=config.optimizer,
            sweep=sweep,
            iterations=config.iterations,
            epochs=config.epochs,
            batch_size=config.batch_size,
            validation_fraction=config.validation_fraction,
        )
        scores = {}
        for stream, values in ((name, each) for name, each in vectors.items() if name in judged):
            probe = fit(
                values,
                target,
                len(labels.classes),
                recipe,
                seed=subject.config.seed,
                device=subject.device,
                progress=subject.progress,
                name=f"{stream} probe",
            )
            scores[stream] = probe.scores(judged[stream])
        return result_of(list(subject.evaluated.ids), scores, labels, config)

    def check_clips(self, train: Clips | None, evaluated: Clips, config: LinearProbeConfig) -> None:
        """Refuses labels that cannot be used; see the base class."""
        check_labels(train, evaluated, kind=config.target, label=config.label)

    def evidence(self, outputs: Outputs, config: LinearProbeConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        return evidence(outputs, config.absent)

    def probabilities(self, outputs: Outputs, stream: str) -> Array:
        """Returns class probabilities, whose logarithms are kept; see the base class."""
        return np.exp(kept_scores(outputs, stream, self.name), dtype=np.float64)


def _sweep(config: LinearProbeConfig) -> tuple[float, ...]:
    key = "weight_decays" if config.optimizer == "lbfgs" else "learning_rates"
    values: tuple[float, ...] = getattr(config, key)
    if not values:
        raise InputError(f"task.{key}: found none, valid: at least one value.")
    return values


def result_of(ids: list[str], scores: dict[str, Array], labels: LabelPair, config: LinearProbeConfig) -> TaskResult:
    """Returns metrics, chance, intervals and per-sample outputs.

    Args:
        ids: The evaluated clips.
        scores: Of each stream, (n, C): probabilities or, of the linear probe, their logarithms.
        labels: What is right.
        config: Rule for absent classes, and resamples.
    """
    target = labels.evaluated.targets(single=labels.single)
    per_sample: dict[str, Array] = {"id": np.array(ids, dtype=np.str_), "target": target}
    for stream, values in scores.items():
        if labels.single:
            per_sample[f"{stream}/top1"] = metric.top_k(values, target, 1)
        if values.size <= KEPT_SCORES:
            per_sample[f"{stream}/scores"] = values
    chance = metric.chance(target, len(labels.classes), absent=config.absent)
    metrics: dict[str, float] = {}
    ci95: dict[str, tuple[float, float]] = {}
    for stream, values in scores.items():
        found = metric.summarise(values, target, absent=config.absent)
        ends = intervals(values, target, absent=config.absent, resamples=config.resamples, seed=config.bootstrap_seed)
        metrics |= {f"{stream}/{name}": value for name, value in found.items()}
        ci95 |= {f"{stream}/{name}": pair for name, pair in ends.items()}
    return TaskResult(
        n=len(ids),
        ids_sha256=hash_ids(ids),
        metrics=metrics,
        chance={name: chance[name.split("/")[1]] for name in metrics if name.split("/")[1] in chance},
        ci95=ci95,
        per_sample=per_sample,
    )


def kept_scores(outputs: Outputs, stream: str, task: str) -> Array:
    """Returns the scores of a stream as they are kept, (n, C).

    Args:
        outputs: Per-sample outputs.
        stream: Such as ``audio``.
        task: For the error.

    Raises:
        InputError: None are kept.
    """
    scores = outputs.get(f"{stream}/scores")
    if scores is None:
        raise InputError(f"task '{task}': found no scores of '{stream}' in the per-sample outputs of this run.")
    return scores


def evidence(outputs: Outputs, absent: metric.Absent) -> Evidence:
    """Returns what the metrics are made of: of scores or, of sets too large to keep them, of hits.

    Args:
        outputs: ``id``, ``target`` and, by stream, ``<stream>/scores`` or ``<stream>/top1``.
        absent: Rule for classes that no clip has.
    """
    ids, parts = outputs["id"], []
    for stream in dict.fromkeys(name.partition("/")[0] for name in outputs if "/" in name):
        scores = outputs.get(f"{stream}/scores")
        if scores is not None:
            parts.append((f"{stream}/", of_scores(ids, scores, outputs["target"], absent=absent)))
        elif f"{stream}/top1" in outputs:
            parts.append((f"{stream}/", of_means(ids, {"top1": outputs[f"{stream}/top1"]})))
    return joined(parts) if parts else Evidence(ids)


CONFIG = LinearProbeConfig
TASK = LinearProbe()

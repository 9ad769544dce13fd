"""Shuffled pairs: what remains of a model that was pretrained on sounds and pictures that do not belong together.

Source: paper Table 16. The pretraining is repeated with every clip's picture taken from another clip, always the same
one (a derangement, a function of the seed, kept in the pretraining's ``done.json``). Both models are then judged on
true pairs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from avbench.config import FinetuneConfig, RunConfig
from avbench.errors import InputError
from avbench.metrics import paired
from avbench.metrics import retrieval as ranking
from avbench.metrics.evidence import Evidence, difference, joined
from avbench.metrics.sides import Aggregation
from avbench.settings import setting
from avbench.tasks import classification, linear_probe, retrieval
from avbench.tasks.base import FINETUNED, Embeddings, Outputs, Task, TaskCard, TaskResult
from avbench.tasks.labels import check_labels
from avbench.tasks.linear_probe import KEPT_SCORES, LinearProbeConfig

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.store.features import Features
    from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]

CARD = TaskCard(
    summary="pretrain also on shuffled pairs of sound and picture; probe both models on true pairs",
    needs=("vectors", "training vectors", "training log", "finetuned", "training clips"),
    modalities=("audio", "visual"),
    abilities=("embeddings", "vectors", "pretraining"),
    columns=("top1", "mAP", "R@10", "contrast_loss"),
)
SHUFFLED = {"train": {"pairing": "shuffled"}}
MODELS = ("true", "shuffled")  # as the pairs of the pretraining
PROBED, TUNED, RETRIEVED = "probe", "finetune", "retrieval"
KEYS = {PROBED: "", TUNED: "finetuned/", RETRIEVED: ""}  # what the keys of each part begin with
CONTRAST = "contrast_loss"
SHARED = ("id", "target")  # per-sample outputs that both models have in common
EMBEDDINGS = {"audio": "audio_embedding", "visual": "visual_embedding"}  # per-sample outputs of each model


@dataclass(frozen=True, kw_only=True)
class ShuffledPairsConfig(LinearProbeConfig):
    """Options of shuffled pairs: those of the linear probe, and what else both models do on true pairs."""

    measure: Literal["probe", "finetune", "both"] = setting(
        "probe", "how the models are judged: probe, finetune (the paper's way), or both"
    )
    finetune: FinetuneConfig = setting(
        FinetuneConfig(), "fine-tuning; target, label, absent and resamples are those of the probe"
    )
    aggregation: Aggregation = setting(
        "diagonal_mean", "retrieval: cosines of frames to one number, see task retrieval"
    )


class ShuffledPairs(Task[ShuffledPairsConfig]):
    """Judges the model of true pairs and that of shuffled ones by the other tasks; the drop is true less shuffled.

    Metrics are keyed ``true/joint/top1``, ``shuffled/joint/top1`` and ``drop/joint/top1``, with the keys of the linear
    probe and of retrieval behind; those of fine-tuning have ``finetuned/`` before. Where the method contrasts,
    ``true/contrast_loss`` is its contrastive loss at the end of the pretraining, and chance what guessing gives: the
    logarithm of the clips in a forward pass.
    """

    name = "shuffled_pairs"
    version = 2  # 2: ties in R@k and intervals as in version 3 of retrieval
    config_type = ShuffledPairsConfig

    def variants(self, config: ShuffledPairsConfig) -> tuple[Mapping[str, Mapping[str, Any]], ...]:
        """Returns the pretraining on shuffled pairs."""
        return (SHUFFLED,)

    def check(self, config: RunConfig) -> None:
        """Refuses weights from a file, and a run whose own pairs are shuffled."""
        if config.weights == "checkpoint":
            raise InputError(
                "--checkpoint: found a file of weights, valid: none; task 'shuffled_pairs' pretrains twice itself."
            )
        if config.train.pairing != "true":
            raise InputError(
                f"train.pairing: found {config.train.pairing}, valid: true; task 'shuffled_pairs' shuffles by itself."
            )
        if cast(ShuffledPairsConfig, config.task).finetune.weights:
            raise InputError("task.finetune.weights: found a file, valid: none; both models are fine-tuned here.")

    def spared(self, config: ShuffledPairsConfig) -> frozenset[str]:
        """Returns what the way in which the models are judged does without."""
        return frozenset({"probe": {FINETUNED}, "finetune": {"training vectors"}}.get(config.measure, ()))

    def finetuning(self, config: ShuffledPairsConfig) -> FinetuneConfig:
        """Returns the recipe: labels and intervals are those of the probe."""
        shared = ("target", "label", "absent", "resamples", "bootstrap_seed")
        return dataclasses.replace(config.finetune, **{name: getattr(config, name) for name in shared})

    def check_clips(self, train: Clips | None, evaluated: Clips, config: ShuffledPairsConfig) -> None:
        """Refuses labels that cannot be used; see the base class."""
        check_labels(train, evaluated, kind=config.target, label=config.label)

    def run(self, subject: Subject, config: ShuffledPairsConfig) -> TaskResult:
        """Judges the models of true and of shuffled pairs; of untrained weights there is but one model.

        Raises:
            InputError: Labels that cannot be used.
            RunError: The work failed.
        """
        true = assess(subject, config)
        untrained = subject.config.weights == "untrained"
        return compare(true, true if untrained else assess(subject.variant(**SHUFFLED), config), config)

    def evidence(self, outputs: Outputs, config: ShuffledPairsConfig) -> Evidence:
        """Returns what the metrics are made of, all but the losses; see the base class."""
        models, drop = _drop(outputs, config)
        return joined([(f"{name}/", each) for name, each in {**models, "drop": drop}.items()])

    def select(
        self, outputs: Outputs, rows: npt.NDArray[np.integer[Any]], config: ShuffledPairsConfig, embeddings: Embeddings
    ) -> dict[str, Array]:
        """Ranks fewer clips, or leaves ranks out where the run was too large to keep embeddings; see the base class."""
        chosen = super().select(outputs, rows, config, embeddings)
        if len(rows) == len(outputs["id"]):
            return chosen
        for name in MODELS:
            sides = [chosen.get(f"{name}/{key}") for key in EMBEDDINGS.values()]
            for direction in ranking.DIRECTIONS:
                for kept in ("rank", "ties"):
                    chosen.pop(f"{name}/{direction}_{kept}", None)
            if sides[0] is not None and sides[1] is not None:
                found = ranking.ranks(sides[0], sides[1], aggregation=config.aggregation)
                chosen |= {f"{name}/{key}": values for key, values in retrieval.outputs_of(found).items()}
        return chosen


@dataclass(frozen=True)
class Assessed:
    """What one model reaches on true pairs.

    Attributes:
        parts: Results of other tasks, by what their keys begin with here.
        features: The embeddings that retrieval compared.
        contrast: The contrastive loss at the end of the pretraining, and chance; None where there was none.
    """

    parts: dict[str, TaskResult]
    features: Features
    contrast: tuple[float, float] | None


def assess(subject: Subject, config: ShuffledPairsConfig) -> Assessed:
    """Probes one model or judges it fine-tuned, lets it retrieve, and looks up its contrastive loss.

    Raises:
        InputError: Labels or options cannot be used.
        RunError: The work failed.
    """
    parts = {}
    if config.measure != "finetune":
        parts[PROBED] = linear_probe.TASK.run(subject, config)
    if config.measure != "probe":
        parts[TUNED] = classification.TASK.run(subject, TASK.finetuning(config))
    features = subject.embeddings()
    parts[RETRIEVED] = retrieval.TASK.evaluate(
        features,
        retrieval.RetrievalConfig(
            aggregation=config.aggregation, resamples=config.resamples, bootstrap_seed=config.bootstrap_seed
        ),
    )
    log, contrast = subject.training_log(), None
    if log is not None and "contrast" in log["last_row"]:
        train = subject.config.train
        contrast = float(log["last_row"]["contrast"]), math.log(train.batch_size // train.accumulate)
    return Assessed(parts, features, contrast)


def compare(true: Assessed, shuffled: Assessed, config: ShuffledPairsConfig) -> TaskResult:
    """Returns what both models reach, and the drop from the one to the other, on the same clips.

    Args:
        true: Of the model of true pairs.
        shuffled: Of the other.
        config: The task's options.
    """
    models = dict(zip(MODELS, (true, shuffled), strict=True))
    result = true.parts[RETRIEVED]
    metrics: dict[str, float] = {}
    chance: dict[str, float] = {}
    ci95: dict[str, tuple[float, float]] = {}
    per_sample: dict[str, Array] = {"id": result.per_sample["id"]}
    for name, model in models.items():
        for part, found in model.parts.items():
            prefix = f"{name}/{KEYS[part]}"
            metrics |= {prefix + key: value for key, value in found.metrics.items()}
            chance |= {prefix + key: value for key, value in found.chance.items()}
            ci95 |= {prefix + key: ends for key, ends in found.ci95.items()}
            per_sample |= {prefix + key: array for key, array in found.per_sample.items() if key not in SHARED}
            per_sample |= {key: array for key, array in found.per_sample.items() if key in SHARED}
        if model.features.pair[0].size <= KEPT_SCORES:
            per_sample |= {f"{name}/{key}": getattr(model.features, side) for side, key in EMBEDDINGS.items()}
        if model.contrast is not None:
            metrics[f"{name}/{CONTRAST}"], chance[f"{name}/{CONTRAST}"] = model.contrast
    drops = _drops(metrics)
    metrics |= drops
    chance |= dict.fromkeys(drops, 0.0)
    apart = paired.intervals(_drop(per_sample, config)[1], resamples=config.resamples, seed=config.bootstrap_seed)
    ci95 |= {f"drop/{key}": ends for key, ends in apart.items() if f"drop/{key}" in drops}
    return TaskResult(
        n=result.n, ids_sha256=result.ids_sha256, metrics=metrics, chance=chance, ci95=ci95, per_sample=per_sample
    )


def _drops(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns true less shuffled, of every metric that both have but the loss."""
    first, second = (f"{name}/" for name in MODELS)
    return {
        f"drop/{key.removeprefix(first)}": value - metrics[second + key.removeprefix(first)]
        for key, value in metrics.items()
        if key.startswith(first) and second + key.removeprefix(first) in metrics and not key.endswith(CONTRAST)
    }


def _drop(outputs: Outputs, config: ShuffledPairsConfig) -> tuple[dict[str, Evidence], Evidence]:
    """Returns what the metrics of both models are made of, and their differences."""
    models = {name: _of_model(outputs, name, config) for name in MODELS}
    return models, difference(*models.values())


def _of_model(outputs: Outputs, name: str, config: ShuffledPairsConfig) -> Evidence:
    """Returns what the metrics of one model are made of; keys as in the other tasks, those of fine-tuning prefixed."""
    own = {key.removeprefix(f"{name}/"): values for key, values in outputs.items() if key.startswith(f"{name}/")}
    own |= {key: outputs[key] for key in SHARED if key in outputs}
    prefix = KEYS[TUNED]
    tuned = {key.removeprefix(prefix): values for key, values in own.items() if key in SHARED or key.startswith(prefix)}
    parts = [
        (KEYS[PROBED], linear_probe.evidence(own, config.absent)),
        (KEYS[TUNED], linear_probe.evidence(tuned, config.absent)),
    ]
    if f"{ranking.DIRECTIONS[0]}_rank" in own:
        parts.append((KEYS[RETRIEVED], retrieval.TASK.evidence(own, retrieval.CONFIG())))
    return joined(parts)


CONFIG = ShuffledPairsConfig
TASK = ShuffledPairs()

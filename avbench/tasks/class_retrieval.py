"""Class-aware retrieval: what retrieval finds where the own clip is one of many that show the same.

R@k counts a clip of the same class as wrong. In VGGSound's test set a clip shares its label with 28 others in the
median, so a model that understands sounds and one that does not may have the same R@1. Definitions:
:mod:`avbench.metrics.class_retrieval` and docs/tasks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.metrics import class_retrieval as metric
from avbench.metrics import retrieval as instance
from avbench.metrics.evidence import Evidence, Mean, joined, of_means
from avbench.metrics.evidence_intervals import intervals
from avbench.settings import setting
from avbench.store.features import Features
from avbench.tasks import retrieval
from avbench.tasks.base import JOINT, Embeddings, Outputs, Task, TaskCard, TaskResult
from avbench.tasks.labels import parts, read_labels

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]

CARD = TaskCard(
    summary="retrieval by class beside R@k: mAP and nDCG over clips that share a label, misses of the right class",
    needs=("vectors",),
    columns=("R@1", "R@10", "mAP", "nDCG", "class@1", "right_class_misses", "label_overlap"),
    units={
        "nDCG": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1},
        "class@1": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "right_class_misses": {
            "factor": 100.0,
            "symbol": "%",
            "digits": 2,
            "coarse": 1,
            "share": True,
            "name": "right-class misses",
        },
        "label_overlap": {"digits": 1, "coarse": 1, "name": "others of a label"},
    },
)
WITHIN = {"audio": "a2a", "visual": "v2v"}
OVERLAP = "gallery/label_overlap"  # of the clips, whatever the model
_QUERY = {"mAP": "ap", "nDCG": "ndcg", "class@1": "class_hit"}  # metric to the per-sample output it is the mean of


@dataclass(frozen=True, kw_only=True)
class ClassRetrievalConfig(retrieval.RetrievalConfig):
    """Options of class-aware retrieval: those of retrieval, and what a class is."""

    label: str = setting("", "parts of the class names that count, such as shape+pitch or 1+2; empty: whole names")


class ClassRetrieval(Task[ClassRetrievalConfig]):
    """Ranks all clips for each query, and asks which of them share a label with it.

    Sounds are queries among pictures and the other way round. Where there is one modality alone, the data's or the
    method's, a clip is a query among all others (``a2a``, ``v2v``): R@k asks for a counterpart, and there is none.
    """

    name = "class_retrieval"
    version = 1
    resampled = retrieval.Retrieval.resampled
    config_type = ClassRetrievalConfig

    def spared(self, config: ClassRetrievalConfig) -> frozenset[str]:
        """Returns that it compares sounds and pictures alone."""
        return frozenset({JOINT})

    def check_clips(self, train: Clips | None, evaluated: Clips, config: ClassRetrievalConfig) -> None:
        """Refuses clips without labels; see the base class."""
        read_labels(evaluated, parts(evaluated.class_names, config.label), what="evaluated clips")

    def run(self, subject: Subject, config: ClassRetrievalConfig) -> TaskResult:
        """Evaluates both directions over all clips; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Labels or embeddings cannot be used.
        """
        clips = subject.evaluated
        labels = read_labels(clips, parts(clips.class_names, config.label), what="evaluated clips")
        outputs = _outputs(subject.embeddings(), labels.targets(single=labels.single), config)
        evidence, marks = self.evidence(outputs, config), _marks(outputs["labels"])
        alone = _alone(outputs)
        found = metric.chance_within(marks) if alone else metric.chance(marks)
        chance = {f"{side}/{name}": value for side in alone or instance.DIRECTIONS for name, value in found.items()}
        chance |= {} if alone else instance.chance(len(clips))
        return TaskResult(
            n=len(clips),
            ids_sha256=hash_ids(clips.ids),
            metrics=dict(evidence.values),
            chance={name: chance[name] for name in evidence.values if name in chance},
            ci95=intervals(evidence, self.name, resamples=config.resamples, seed=config.bootstrap_seed),
            per_sample=outputs,
        )

    def evidence(self, outputs: Outputs, config: ClassRetrievalConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        ids, sides = outputs["id"], []
        others = metric.overlap(_marks(outputs["labels"]))
        labelled = ("", Evidence(ids, {OVERLAP: float(np.median(others))}))
        if alone := _alone(outputs):
            judged = np.asarray(others > 0, np.float64)
            found_of = {
                f"{side}/{name}": Mean(outputs[f"{side}_{output}"] * judged, judged)
                for side in alone
                for name, output in _QUERY.items()
            }
            values = {name: float(mean(np.arange(len(ids)))) for name, mean in found_of.items() if judged.any()}
            return joined([("", Evidence(ids, values, {name: found_of[name] for name in values})), labelled])
        for side in instance.DIRECTIONS:
            means = {name: outputs[f"{side}_{output}"] for name, output in _QUERY.items()}
            sides.append((f"{side}/", of_means(ids, means)))
            right, miss = outputs[f"{side}_right_miss"], outputs[f"{side}_miss"]
            if miss.any():
                share = Mean(right, miss)
                value = {"right_class_misses": float(right.sum() / miss.sum())}
                sides.append((f"{side}/", Evidence(ids, value, {"right_class_misses": share})))
        ranked = retrieval.TASK.evidence(outputs, config)
        found = joined([("", ranked), *sides, labelled])
        order = [f"{side}/{name}" for side in instance.DIRECTIONS for name in (*instance.METRICS, *metric.METRICS)]
        values = {name: found.values[name] for name in (*order, OVERLAP) if name in found.values}
        return Evidence(ids, values, found.means, found.draw)

    def select(
        self, outputs: Outputs, rows: npt.NDArray[np.integer[Any]], config: ClassRetrievalConfig, embeddings: Embeddings
    ) -> dict[str, Array]:
        """Ranks the clips among each other, where they are fewer than there were; see the base class."""
        if len(rows) == len(outputs["id"]):
            return super().select(outputs, rows, config, embeddings)
        return _outputs(embeddings(outputs["id"][rows].tolist()), outputs["labels"][rows], config)


def _alone(outputs: Outputs) -> list[str]:
    """Returns the direction of outputs that are of one modality; none of pairs."""
    return [side for side in WITHIN.values() if f"{side}_ap" in outputs]


def _marks(labels: Array) -> Array:
    """Returns labels as they are kept, (n,) class indices or (n, C), as (n, C) zeros and ones."""
    if labels.ndim == 2:
        return labels
    return np.asarray(np.unique(labels)[None] == labels[:, None])


def _outputs(features: Features, labels: Array, config: ClassRetrievalConfig) -> dict[str, Array]:
    """Returns what is kept of each query: its rank, and what it finds by class."""
    if len(features.sides) == 1:
        ((modality, values),) = features.sides.items()
        values = retrieval.chosen_frame(config, values)[0]
        alone = metric.within(values, _marks(labels), aggregation=config.aggregation)._asdict()
        kept = {f"{WITHIN[modality]}_{name}": alone[name] for name in _QUERY.values()}
        return {"id": np.array(features.ids, dtype=np.str_), "labels": labels, **kept}
    audio, visual = retrieval.compared(features, config)
    scores = features.scores
    ranks = instance.ranks(audio, visual, aggregation=config.aggregation, ids=features.ids, scores=scores)
    found = {"id": np.array(features.ids, dtype=np.str_), "labels": labels, **retrieval.outputs_of(ranks)}
    sides = metric.by_class(audio, visual, _marks(labels), aggregation=config.aggregation, scores=scores)
    for side, queries in zip(instance.DIRECTIONS, sides, strict=True):
        found |= {f"{side}_{name}": values for name, values in queries._asdict().items()}
    return found


CONFIG = ClassRetrievalConfig
TASK = ClassRetrieval()

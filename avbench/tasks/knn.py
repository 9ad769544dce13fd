"""kNN probe: the classes of a clip's nearest training clips, with nothing trained.

It says what frozen vectors hold without a probe's own choices; definition: :mod:`avbench.metrics.neighbours`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from avbench.metrics import classification as metric
from avbench.metrics import neighbours
from avbench.metrics.evidence import Evidence
from avbench.settings import Settings, setting
from avbench.tasks import linear_probe
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult
from avbench.tasks.labels import check_labels, read_pair
from avbench.tasks.linear_probe import LinearProbeConfig, result_of
from avbench.tasks.streams import Frames, Joint, streams

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.subject import Subject

log = logging.getLogger("avbench")

CARD = TaskCard(
    summary="the classes of the nearest training clips, by frozen vectors of sound, picture and both: accuracy or mAP",
    title="kNN",
    needs=("vectors", "training vectors", "training clips"),
    abilities=("vectors",),
    columns=("top1", "top5", "mAP", "d_prime"),
)


@dataclass(frozen=True, kw_only=True)
class KnnConfig(Settings):
    """Options of the kNN probe."""

    k: int = setting(20, "nearest training clips that count; all of them where there are fewer", ge=1)
    temperature: float = setting(0.07, "a neighbour of cosine s counts exp(s / temperature)", gt=0)
    target: Literal["auto", "single", "multi"] = setting(
        "auto", "labels a clip: one, any number, or as the training clips have them"
    )
    label: str = setting("", "parts of the class names to predict, such as shape+pitch or 1+2; empty: whole names")
    frames: Frames = setting("mean", "vectors of several frames (Sync): mean or concatenated")
    joint: Joint = setting(
        "joint", "audio-visual vector: of the joint stream (paper), or those of the two single streams end to end"
    )
    absent: metric.Absent = setting(
        "present", "classes no evaluated clip has: left out of mAP and mAUC, or AP 0 and AUC -1 (reference)"
    )
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)


class Knn(Task[KnnConfig]):
    """Scores each stream by the labels of its nearest training clips; the evaluated clips are no one's neighbours."""

    name = "knn"
    version = 1
    config_type = KnnConfig

    def run(self, subject: Subject, config: KnnConfig) -> TaskResult:
        """Scores and judges the evaluated clips; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Labels or vectors cannot be used.
        """
        labels = read_pair(subject.train, subject.evaluated, kind=config.target, label=config.label)
        marks = labels.train.multi_hot(dtype=np.bool_)
        known, judged = (
            streams(subject, part, frames=config.frames, joint=config.joint) for part in linear_probe.PARTS
        )
        if config.k > len(marks):
            log.warning("task.k: found %d, more than the %d training clips: all of them count", config.k, len(marks))
        scores: dict[str, npt.NDArray[Any]] = {
            stream: neighbours.scores(
                vectors, marks, judged[stream], k=min(config.k, len(marks)), temperature=config.temperature
            )
            for stream, vectors in known.items()
            if stream in judged
        }
        options = LinearProbeConfig(
            absent=config.absent, resamples=config.resamples, bootstrap_seed=config.bootstrap_seed
        )
        return result_of(list(subject.evaluated.ids), scores, labels, options)

    def check_clips(self, train: Clips | None, evaluated: Clips, config: KnnConfig) -> None:
        """Refuses labels that cannot be used; see the base class."""
        check_labels(train, evaluated, kind=config.target, label=config.label)

    def evidence(self, outputs: Outputs, config: KnnConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        return linear_probe.evidence(outputs, config.absent)

    def probabilities(self, outputs: Outputs, stream: str) -> npt.NDArray[Any]:
        """Returns class shares, which are kept as they are; see the base class."""
        return linear_probe.kept_scores(outputs, stream, self.name)


CONFIG = KnnConfig
TASK = Knn()

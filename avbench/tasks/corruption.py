"""Corruption: what retrieval or a kNN probe loses where the sound or the picture is damaged at test time.

Training clips, and with them the neighbours of the kNN probe, stay as they are. Corruptions and severities:
:mod:`avbench.data.media.corrupt` and docs/tasks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.corrupted import Corruption
from avbench.data.media.corrupt import PICTURES, SEVERITIES, SOUNDS
from avbench.errors import InputError
from avbench.metrics.evidence import Evidence, joined
from avbench.metrics.evidence_intervals import intervals
from avbench.settings import Settings, setting
from avbench.tasks import knn, retrieval
from avbench.tasks.base import Embeddings, Outputs, Task, TaskCard, TaskResult

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]

CARD = TaskCard(
    summary="retrieval or kNN with damaged sounds or pictures: nine corruptions, five severities, mean drop",
    needs=("vectors", "changed vectors", "training vectors", "training clips"),
    modalities=("audio", "visual"),
    abilities=("embeddings", "vectors"),
    columns=("R@10", "top1", "mAP"),
)
CLEAN, DROP = "clean", "drop"
_TRAINED = frozenset({"training vectors", "training clips"})


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig(Settings):
    """Options of corruption."""

    measure: Literal["retrieval", "knn"] = setting("retrieval", "what is measured on the damaged clips")
    corruptions: tuple[str, ...] = setting((), "which of them; empty: all")
    severities: tuple[int, ...] = setting((1, 2, 3, 4, 5), "how strong, from 1 to 5", ge=1, le=SEVERITIES)
    seed: int = setting(0, "seed of the corruptions' draws", ge=0)
    label: str = setting("", "knn: parts of the class names to predict, such as shape+pitch; empty: whole names")
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            InputError: A wrong type, a value out of range, or an unknown corruption.
        """
        super().__post_init__()
        strange = next((name for name in self.corruptions if name not in (*SOUNDS, *PICTURES)), None)
        if strange is not None or not self.severities:
            what = f"corruptions: found {strange}" if strange is not None else "severities: found none"
            raise InputError(f"task.{what}, valid: one or more of {', '.join((*SOUNDS, *PICTURES))}, from 1 to 5.")

    def conditions(self) -> tuple[Corruption, ...]:
        """Returns the corruptions, each at each severity."""
        kinds = dict.fromkeys(self.corruptions or (*SOUNDS, *PICTURES))
        return tuple(Corruption(kind, each, self.seed) for kind in kinds for each in dict.fromkeys(self.severities))

    def inner(self) -> tuple[Task[Any], Settings]:
        """Returns the task that measures, and its options; its own intervals are not needed."""
        if self.measure == "knn":
            return knn.TASK, knn.KnnConfig(label=self.label, resamples=0)
        return retrieval.TASK, retrieval.RetrievalConfig(resamples=0)


class CorruptionTask(Task[CorruptionConfig]):
    """Measures clean clips and every corruption of them, and the mean drop over corruptions and severities."""

    name = "corruption"
    version = 1
    config_type = CorruptionConfig

    def spared(self, config: CorruptionConfig) -> frozenset[str]:
        """Returns that retrieval needs no training clips."""
        return frozenset() if config.measure == "knn" else _TRAINED

    def changes(self, config: RunConfig) -> tuple[Corruption, ...]:
        """Returns the corruptions; see the base class."""
        return cast(CorruptionConfig, config.task).conditions()

    def check_clips(self, train: Clips | None, evaluated: Clips, config: CorruptionConfig) -> None:
        """Refuses what the measure cannot use; see the base class."""
        task, options = config.inner()
        task.check_clips(train, evaluated, options)

    def run(self, subject: Subject, config: CorruptionConfig) -> TaskResult:
        """Measures; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Labels cannot be used.
            RunError: A clip cannot be read.
        """
        task, options = config.inner()
        clean = task.run(subject, options)
        outputs = {"id": clean.per_sample["id"], **_prefixed(CLEAN, clean.per_sample)}
        for change in config.conditions():
            outputs |= _prefixed(str(change), task.run(subject.on(change), options).per_sample)
        evidence = self.evidence(outputs, config)
        keys = [name for name in evidence.values if not name.startswith(DROP)]
        chance = {name: clean.chance[name.partition("/")[2]] for name in keys if name.partition("/")[2] in clean.chance}
        return TaskResult(
            n=clean.n,
            ids_sha256=hash_ids(subject.evaluated.ids),
            metrics=dict(evidence.values),
            chance=chance,
            ci95=intervals(evidence, self.name, resamples=config.resamples, seed=config.bootstrap_seed),
            per_sample=outputs,
        )

    def evidence(self, outputs: Outputs, config: CorruptionConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class.

        ``drop/sound/KEY`` is the clean value less the mean over the corruptions of sounds and their severities.
        """
        task, options = config.inner()
        parts = {name: task.evidence(_of(outputs, name), options) for name in _names(outputs)}
        found = joined([(f"{name}/", each) for name, each in parts.items()])
        drops: dict[str, list[str]] = {}
        for name in parts:
            if name != CLEAN:
                drops.setdefault("sound" if name.partition("@")[0] in SOUNDS else "picture", []).append(name)
        keys = list(parts[CLEAN].values)

        def mean(values: Any, side: str, key: str) -> Any:
            damaged = [values[f"{name}/{key}"] for name in drops[side] if f"{name}/{key}" in values]
            clean = values.get(f"{CLEAN}/{key}")
            return None if clean is None or not damaged else clean - sum(damaged) / len(damaged)

        def dropped(values: Any) -> dict[str, Any]:
            each = {f"{DROP}/{side}/{key}": mean(values, side, key) for side in drops for key in keys}
            return {name: value for name, value in each.items() if value is not None}

        def draw(resamples: int, seed: int) -> dict[str, npt.NDArray[np.float64]]:
            drawn = found.estimates(resamples, seed)
            return {**drawn, **dropped(drawn)}

        return Evidence(found.units, {**found.values, **dropped(found.values)}, found.means, draw)

    def select(
        self, outputs: Outputs, rows: npt.NDArray[np.integer[Any]], config: CorruptionConfig, embeddings: Embeddings
    ) -> dict[str, Array]:
        """Takes the rows; ranks among fewer clips would need embeddings that are not kept.

        Args:
            outputs: Per-sample outputs of all samples.
            rows: (k,) which samples.
            config: The options of the run.
            embeddings: Not used.

        Raises:
            InputError: Fewer clips, where retrieval is measured.
        """
        if config.measure == "retrieval" and len(rows) < len(outputs["id"]):
            raise InputError("found no embeddings of damaged clips to rank fewer of them by, valid: all clips.")
        return super().select(outputs, rows, config, embeddings)


def _prefixed(name: str, outputs: Outputs) -> dict[str, Array]:
    return {f"{name}/{key}": values for key, values in outputs.items() if key != "id"}


def _names(outputs: Outputs) -> list[str]:
    return list(dict.fromkeys(key.partition("/")[0] for key in outputs if "/" in key))


def _of(outputs: Outputs, name: str) -> dict[str, Array]:
    """Returns the outputs of one measurement, as its task keeps them."""
    own = {key.partition("/")[2]: values for key, values in outputs.items() if key.startswith(f"{name}/")}
    return {"id": outputs["id"], **own}


CONFIG = CorruptionConfig
TASK = CorruptionTask()

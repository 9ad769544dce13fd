"""VGGSounder: class scores on VGGSound's test clips, judged by all that is heard and seen in them.

It computes no scores: it judges those that a classification, a probe or anybody's model left (``avbench evaluate
--run`` or ``--features``). Source: Zverev et al., ICCV 2025; definitions in docs/protocol/vggsounder.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from avbench.data.annotations import vggsounder
from avbench.data.annotations.vggsounder import HEARD, SEEN
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.metrics import classification, label_sets
from avbench.metrics.evidence import Evidence, Mean, joined, of_means, of_scores
from avbench.metrics.evidence_intervals import intervals
from avbench.settings import Settings, setting
from avbench.store.vectors_file import Vectors, read_vectors
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult

log = logging.getLogger("avbench")
Array = npt.NDArray[Any]

CARD = TaskCard(
    title="VGGSounder",
    summary="recorded VGGSound scores against all labels heard and seen: hits, F1, mAP by modality, modality confusion",
    needs=("scores", "annotations"),
    columns=("hit@1", "hit@5", "F1@1", "accuracy@1", "mAP", "confusion"),
    units={
        "hit@1": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "hit@5": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "accuracy@1": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "F1@1": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1},
        "confusion": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True, "better": "lower"},
    },
)
SUBSETS: dict[str, tuple[int, ...]] = {  # name to the marks of its labels
    "all": (HEARD, SEEN, HEARD | SEEN),
    "A": (HEARD, HEARD | SEEN),
    "V": (SEEN, HEARD | SEEN),
    "AV": (HEARD | SEEN,),
    "A_only": (HEARD,),
    "V_only": (SEEN,),
}
PLACES = (1, 5)
_AGREE = 0.5  # share of the clips whose own label must be among the annotated ones; 79 % of VGGSounder's are


@dataclass(frozen=True, kw_only=True)
class VggsounderConfig(Settings):
    """Options of VGGSounder."""

    without: tuple[Literal["background_music", "static_image", "voice_over"], ...] = setting(
        (), "leave out clips with these flags"
    )
    of: str = setting("", "the task whose recorded scores are judged; evaluate --run sets it")
    of_options: str = setting("", "hash of that task's options; evaluate --run sets it")
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)


class Vggsounder(Task[VggsounderConfig]):
    """Judges every stream of scores by every subset of the labels, and the streams against each other."""

    name = "vggsounder"
    version = 2  # 2: accuracy@1, and mAP of every subset
    config_type = VggsounderConfig

    def evaluate_stored(self, path: Path, annotations: Path, config: VggsounderConfig) -> TaskResult:
        """Evaluates the scores in an .npz, such as the per-sample outputs of a run.

        Args:
            path: ``id``, ``STREAM/scores`` (n, 309) and, to tell which column is which class, ``classes`` (309,) or
                ``target`` (n,), the class that VGGSound gives each clip.
            annotations: ``vggsounder.csv``.
            config: Its options.

        Raises:
            InputError: A file cannot be used, or no clip is in both.
        """
        vectors, known = read_vectors(path), vggsounder.read_vggsounder(annotations)
        left_out = np.any([known.flags[name] for name in config.without], axis=0) if config.without else ()
        row_of = {name: i for i, name in enumerate(known.ids) if not (config.without and left_out[i])}
        rows = [i for i, name in enumerate(vectors.ids) if name in row_of]
        if not rows:
            raise InputError(
                f"{path}: none of its {len(vectors.ids)} clips is annotated in {annotations}; ids look like"
                f" '{vectors.ids[0]}' and '{known.ids[0]}'."
            )
        ids = [vectors.ids[i] for i in rows]
        marks = known.marks[[row_of[name] for name in ids]]
        order = _columns(path, vectors, known, rows, marks)
        log.info("%d of %d annotated clips have scores; %d scored clips are not annotated or left out", len(rows),
                 len(row_of), len(vectors.ids) - len(rows))  # fmt: skip
        scores = {stream: values[rows][:, order] for stream, values in vectors.scores.items()}
        for values in scores.values():
            classification.check(values, marks > 0)
        outputs: dict[str, Array] = {"id": np.array(ids, dtype=np.str_), "marks": marks}
        outputs |= {f"{stream}/scores": values for stream, values in scores.items()} | _confusions(scores, marks)
        evidence = self.evidence(outputs, config)
        return TaskResult(
            n=len(ids),
            ids_sha256=hash_ids(ids),
            metrics=dict(evidence.values),
            chance=_chance(marks, evidence.values),
            ci95=intervals(evidence, self.name, resamples=config.resamples, seed=config.bootstrap_seed),
            per_sample=outputs,
        )

    def evidence(self, outputs: Outputs, config: VggsounderConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        ids, marks, parts = outputs["id"], outputs["marks"], []
        for name, values in outputs.items():
            stream, _, kind = name.rpartition("/")
            if kind == "confusion":
                parts.append((f"{stream}/", of_means(ids, {kind: values})))
            for subset, wanted in SUBSETS.items() if kind == "scores" else ():
                labels = np.isin(marks, wanted)
                judged = labels.any(axis=1)
                if judged.any():
                    parts.append((f"{stream}/{subset}/", _of(ids, _means(values, labels))))
                if subset == "all":
                    parts.append((f"{stream}/{subset}/", of_scores(ids, values, labels)))
                elif judged.any():  # without an interval: its resamples would take minutes
                    mean = classification.summarise(values[judged], labels[judged])["mAP"]
                    parts.append((f"{stream}/{subset}/", Evidence(ids, {"mAP": mean})))
        return joined(parts) if parts else Evidence(ids)


def _confusions(scores: dict[str, Array], marks: Array) -> dict[str, Array]:
    """Returns how far each clip is right by one modality and wrong by both together, as far as there are scores."""
    first = {stream: label_sets.hit(values, marks > 0, 1) for stream, values in scores.items()}
    found = {}
    for name, streams in {"audio": ("audio",), "visual": ("visual",), "both": ("audio", "visual")}.items():
        if {"joint", *streams} <= first.keys():
            alone = np.prod([first[stream] for stream in streams], axis=0)
            found[f"{name}/confusion"] = label_sets.confusion(alone, first["joint"])
    return found


def _means(scores: Array, labels: Array) -> dict[str, Mean]:
    """Returns hits, F1 and the share of clips whose labels are the best class and nothing else.

    Args:
        scores: (n, C).
        labels: (n, C) bool; clips without a label are left out.
    """
    hits = {k: label_sets.hit(scores, labels, k) for k in PLACES}
    alone = hits[1] * (np.count_nonzero(labels, axis=1) == 1)
    found = {f"hit@{k}": label_sets.share(each, labels) for k, each in hits.items()}
    return found | {"F1@1": label_sets.f1(hits[1], labels), "accuracy@1": label_sets.share(alone, labels)}


def _of(ids: Array, means: dict[str, Mean]) -> Evidence:
    values = {name: mean.value for name, mean in means.items()}
    return Evidence(ids, values, means)


def _columns(path: Path, vectors: Vectors, known: vggsounder.HeardAndSeen, rows: list[int], marks: Array) -> list[int]:
    """Returns which column of the scores is of each class, in the official order.

    By the names of the columns or, where there are none, by the order in which the clips' own classes are among those
    annotated: the official or the alphabetical one.

    Raises:
        InputError: There are no scores, they are of other classes, or nothing tells their order.
    """
    count, streams = len(known.classes), vectors.scores
    wrong = next((each.shape[1] for each in streams.values() if each.shape[1] != count), None)
    if not streams or wrong is not None:
        found = "no scores" if wrong is None else f"scores of {wrong} classes"
        raise InputError(f"{path}: found {found}, valid: STREAM/scores of VGGSound's {count} classes.")
    if vectors.classes is not None:
        if sorted(vectors.classes) != sorted(known.classes):
            strange = sorted(set(vectors.classes) ^ set(known.classes))
            raise InputError(f"{path}: classes: found other names than VGGSound's, such as '{strange[0]}'.")
        return [vectors.classes.index(name) for name in known.classes]
    if vectors.target is None:
        raise InputError(f"{path}: found neither classes nor target, valid: one, to tell which column is which class.")
    own, alphabetical = vectors.target[rows], sorted(known.classes)
    if own.min() < 0 or own.max() >= count:
        raise InputError(f"{path}: target: found classes from {own.min()} to {own.max()}, valid: 0 to {count - 1}.")
    for order in (list(range(count)), [alphabetical.index(name) for name in known.classes]):
        if marks[np.arange(len(rows)), np.argsort(order)[own]].astype(bool).mean() >= _AGREE:
            return order
    raise InputError(
        f"{path}: found clips whose own classes are not those annotated, in VGGSound's order of classes and in the"
        " alphabetical one, valid: scores in one of these, or an array classes."
    )


def _chance(marks: Array, keys: Any) -> dict[str, float]:
    """Returns what naming the most frequent classes of a subset gives, or for mAP a random order of the clips."""
    found: dict[str, float] = {}
    for subset, wanted in SUBSETS.items():
        labels = np.isin(marks, wanted)
        judged = labels[labels.any(axis=1)]
        if not len(judged):
            continue
        usual = np.tile(judged.sum(axis=0).astype(np.float64), (len(labels), 1))
        values = {name: mean.value for name, mean in _means(usual, labels).items()}
        values |= classification.chance(judged, judged.shape[1])
        found |= {f"{subset}/{name}": value for name, value in values.items()}
    return {key: found[short] for key in keys if (short := key.partition("/")[2]) in found}


CONFIG = VggsounderConfig
TASK = Vggsounder()

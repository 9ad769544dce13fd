"""Class-aware retrieval on a subject made of arrays: metrics beside R@k, chance, intervals, fewer clips, refusals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from label_rows import codes_of

from avbench.errors import InputError
from avbench.metrics import class_retrieval as metric
from avbench.metrics.retrieval import DIRECTIONS
from avbench.metrics.retrieval import METRICS as PLAIN
from avbench.metrics.units import unit
from avbench.store.features import Features
from avbench.tasks.class_retrieval import CARD, OVERLAP, TASK, ClassRetrievalConfig
from avbench.tasks.retrieval import TASK as RETRIEVAL
from avbench.tasks.retrieval import RetrievalConfig
from avbench.tasks.subject import Subject

CLASSES = ("cat-loud", "cat-soft", "dog-loud", "dog-soft")
QUICK = ClassRetrievalConfig(resamples=60)
KEYS = {f"{side}/{name}" for side in DIRECTIONS for name in (*PLAIN, *metric.METRICS)}


class ClassSubject:
    """Clips whose embeddings tell the class and little of the clip."""

    def __init__(self, n: int = 48, *, several: bool = False, bare: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.class_names = CLASSES
        self.ids = [f"clip{i:03d}" for i in range(n)]
        self._labels = [
            () if bare else (CLASSES[i % 4],) + ((CLASSES[0],) if several and i % 4 == 2 else ()) for i in range(n)
        ]
        centres = rng.standard_normal((4, 16))[np.arange(n) % 4]
        audio, visual = (centres + 0.8 * rng.standard_normal((2, n, 16))).astype(np.float32)[:, :, None]
        self.features = Features(self.ids, audio, visual)
        self.evaluated = self

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, i: int) -> tuple[str, ...]:
        return self._labels[i]

    def label_codes(self) -> Any:
        return codes_of(self)

    def embeddings(self) -> Features:
        return self.features

    def chosen(self, ids: Sequence[str]) -> Features:
        rows = [self.ids.index(name) for name in ids]
        return Features(list(ids), self.features.audio[rows], self.features.visual[rows])


def run(subject: ClassSubject, config: ClassRetrievalConfig = QUICK) -> Any:
    return TASK.run(cast(Subject, subject), config)


def test_metrics_by_class_stand_beside_those_of_retrieval() -> None:
    subject = ClassSubject()
    result = run(subject)
    assert set(result.metrics) == KEYS | {OVERLAP}
    assert set(result.chance) == set(result.ci95) == KEYS
    assert result.metrics[OVERLAP] == 11
    plain = RETRIEVAL.evaluate(subject.features, RetrievalConfig(resamples=60))
    assert {name: result.metrics[name] for name in plain.metrics} == plain.metrics
    for name, ends in plain.ci95.items():
        assert result.ci95[name] == pytest.approx(ends)
    assert result.metrics["a2v/mAP"] > 2 * result.chance["a2v/mAP"]
    assert result.metrics["a2v/right_class_misses"] > 0.6
    for name, (low, high) in result.ci95.items():
        assert low <= result.metrics[name] <= high
    expected = metric.by_class(
        subject.features.audio, subject.features.visual, np.eye(4)[np.arange(48) % 4], aggregation="mean"
    )
    assert result.metrics["v2a/nDCG"] == expected[1].ndcg.mean()
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == result.to_dict()


def test_several_labels_and_parts_of_them() -> None:
    several = run(ClassSubject(several=True))
    assert several.per_sample["labels"].shape == (48, 4)
    assert several.metrics[OVERLAP] == np.median([23] * 12 + [11] * 12 + [23] * 12 + [11] * 12)
    parts = run(ClassSubject(), dataclasses.replace(QUICK, label="1"))
    assert parts.metrics[OVERLAP] == 23


@pytest.mark.parametrize("several", [False, True])
def test_fewer_clips_are_ranked_among_each_other(several: bool) -> None:
    subject = ClassSubject(several=several)
    result = run(subject)
    again = TASK.recompute(result.per_sample, subject.ids, QUICK)
    assert again == result.metrics
    fewer = ClassSubject(29, several=several)
    fewer.features = subject.chosen(fewer.ids)
    part = TASK.recompute(result.per_sample, fewer.ids, QUICK, subject.chosen)
    assert part == pytest.approx(run(fewer).metrics)
    with pytest.raises(InputError, match="found no embeddings to rank 29 clips"):
        TASK.recompute(result.per_sample, fewer.ids, QUICK)


def test_without_a_miss_there_is_no_share_of_misses() -> None:
    subject = ClassSubject()
    subject.features = Features(subject.ids, np.eye(48, dtype=np.float32), np.eye(48, dtype=np.float32))
    result = run(subject)
    assert result.metrics["a2v/R@1"] == 1
    assert set(result.metrics) == {name for name in KEYS if "misses" not in name} | {OVERLAP}


def test_clips_without_labels_are_refused_before_anything_is_computed() -> None:
    with pytest.raises(InputError, match="labels: found none for any of the 48 evaluated clips"):
        TASK.check_clips(None, cast(Any, ClassSubject(bare=True)), QUICK)


def test_units_are_read_from_the_card_and_retrieval_keeps_its_version() -> None:
    assert set(CARD.columns) <= {name.rpartition("/")[2] for name in KEYS | {OVERLAP}}
    assert unit("a2v/right_class_misses", "class_retrieval").share
    assert RETRIEVAL.version == 3  # records of retrieval keep their ids

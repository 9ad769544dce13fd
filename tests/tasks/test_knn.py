"""The kNN probe on a subject of arrays: streams, several labels, recomputation, few training clips, bad labels."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, cast

import numpy as np
import pytest

from avbench.errors import InputError
from avbench.metrics import neighbours
from avbench.tasks.knn import TASK, KnnConfig
from avbench.tasks.subject import Subject

from .array_subject import CLASSES, ArraySubject, LabelledClips

QUICK = KnnConfig(resamples=50)


def run(subject: ArraySubject, config: KnnConfig = QUICK) -> Any:
    return TASK.run(cast(Subject, subject), config)


def test_each_stream_knows_what_it_holds() -> None:
    subject = ArraySubject()
    result = run(subject)
    names = ("top1", "mAP", "mAUC", "d_prime")
    assert set(result.metrics) == {f"{stream}/{name}" for stream in ("audio", "visual", "joint") for name in names}
    assert set(result.chance) == set(result.metrics) == set(result.ci95)
    assert result.metrics["joint/top1"] > 0.7 > result.metrics["audio/top1"] > 0.3
    assert run(subject, dataclasses.replace(QUICK, label="1")).metrics["audio/top1"] > 0.8


def test_the_scores_are_those_of_the_neighbours_among_the_training_clips() -> None:
    subject = ArraySubject()
    config = dataclasses.replace(QUICK, k=5, temperature=0.2)
    train, judged = (subject.pooled(part).audio[:, 0] for part in ("train", "evaluated"))  # type: ignore[index,arg-type]
    marks = np.array([[name in subject.train.labels(i) for name in CLASSES] for i in range(120)])
    expected = neighbours.scores(train, marks, judged, k=5, temperature=0.2)
    np.testing.assert_array_equal(run(subject, config).per_sample["audio/scores"], expected)


def test_several_labels_and_recomputation() -> None:
    for several in (False, True):
        result = run(ArraySubject(several=several))
        assert ("joint/top1" in result.metrics) is not several
        ids = result.per_sample["id"].tolist()
        assert TASK.recompute(result.per_sample, ids, QUICK) == result.metrics
        assert set(TASK.recompute(result.per_sample, ids[::3], QUICK)) == set(result.metrics)
        assert TASK.probabilities(result.per_sample, "audio") is result.per_sample["audio/scores"]


def test_fewer_training_clips_than_neighbours_are_all_taken_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "avbench"):
        result = run(ArraySubject(n=12))
    assert "task.k: found 20, more than the 12 training clips" in caplog.text
    assert result.metrics == run(ArraySubject(n=12), dataclasses.replace(QUICK, k=12)).metrics


def test_streams_that_the_method_lacks_are_left_out_and_joint_can_be_both() -> None:
    subject = ArraySubject()
    for part in ("train", "evaluated"):
        subject.change(part, joint=None)
    assert {name.split("/")[0] for name in run(subject).metrics} == {"audio", "visual"}
    assert run(subject, dataclasses.replace(QUICK, joint="concat")).metrics["joint/top1"] > 0.7


def test_clips_without_labels_are_refused() -> None:
    bare = cast(Any, LabelledClips([()] * 9, "train"))
    with pytest.raises(InputError, match="found none for any of the 9 training clips"):
        TASK.check_clips(bare, bare, QUICK)

"""Labels as numbers: kinds, parts of names, and what is refused."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import pytest
from label_rows import codes_of

from avbench.data.corpus.clips import Clips
from avbench.data.soundshapes.factors import clip_factors
from avbench.errors import InputError
from avbench.tasks.labels import Labels, parts, read_labels, read_pair


class NamedClips:
    """The part of the clips protocol that labels need."""

    def __init__(self, labels: list[tuple[str, ...]], classes: tuple[str, ...] = ()) -> None:
        self._labels = labels
        self.class_names = classes or tuple(sorted({name for names in labels for name in names}))
        self.ids = [f"clip{i}" for i in range(len(labels))]

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self, i: int) -> tuple[str, ...]:
        return self._labels[i]

    def label_codes(self) -> Any:
        return codes_of(self)


def named(*labels: str, classes: tuple[str, ...] = ()) -> Clips:
    """Returns clips; a clip's labels are separated by blanks."""
    return cast(Clips, NamedClips([tuple(text.split()) for text in labels], classes))


def read(clips: Clips) -> Labels:
    return read_labels(clips, {name: name for name in clips.class_names})


def test_one_label_a_clip() -> None:
    found = read(named("b", "a", "b"))
    assert (found.classes, found.single, len(found)) == (("a", "b"), True, 3)
    assert found.indices().tolist() == [1, 0, 1]
    assert found.counts().tolist() == [1, 2]
    assert found.targets(single=True).tolist() == [1, 0, 1]


def test_several_labels_a_clip() -> None:
    found = read(named("a c", "b", "c b a", "a a"))
    assert not found.single
    wanted = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert found.multi_hot().tolist() == wanted
    assert found.multi_hot().dtype == np.float32
    assert found.multi_hot(np.array([3, 0, 0])).tolist() == [wanted[i] for i in (3, 0, 0)]
    assert found.multi_hot(np.array([], int)).shape == (0, 3)
    assert found.targets(single=False).dtype == np.bool_
    with pytest.raises(InputError, match="found up to 3 a clip, valid: exactly one"):
        found.indices()


def test_kind_follows_the_training_clips() -> None:
    assert read_pair(named("a", "b"), named("b")).single
    assert not read_pair(named("a b", "b"), named("b", "a")).single
    assert not read_pair(named("a", "b"), named("a"), kind="multi").single
    with pytest.raises(InputError, match=r"several for 1 of the 2 training clips \(clip0\).*task\.target=multi"):
        read_pair(named("a b", "b"), named("b"), kind="single")
    with pytest.raises(InputError, match=r"several for 1 of the 1 evaluated clips \(clip0\)"):
        read_pair(named("a", "b"), named("a b"))


def test_clips_without_labels_are_refused() -> None:
    with pytest.raises(InputError, match="found none for any of the 2 training clips"):
        read_pair(named("", ""), named("a"))
    with pytest.raises(InputError, match=r"none for 4 of the 5 evaluated clips \(clip1, clip2, clip3, \.\.\.\)"):
        read_pair(named("a", "b"), named("a", "", "", "", ""))


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(InputError, match=r"found one class \(a\)"):
        read_pair(named("a", "a"), named("a"))


def test_a_label_that_is_no_class() -> None:
    with pytest.raises(InputError, match="clip 'clip1': found label 'c'"):
        read_labels(named("a", "c"), {"a": "a", "b": "b"})


def test_a_class_without_training_clips_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "avbench"):
        pair = read_pair(named("a", "b"), named("c", "a", "d"))
    assert pair.classes == ("a", "b", "c", "d")
    assert pair.evaluated.indices().tolist() == [2, 0, 3]
    assert "2 classes of the evaluated clips have no training clip (c, d)" in caplog.text
    caplog.clear()
    read_pair(named("a", "b", classes=("a", "b", "z")), named("a"))
    assert not caplog.records


def test_parts_of_the_embedded_sets_names() -> None:
    names = sorted({clip_factors(0, "train", i).label for i in range(600)})
    assert len(names) == 32
    assert len(set(parts(names, "shape").values())) == 4
    assert parts(names, "shape+pitch")["ring-high-pulsed-plain"] == "ring-high"
    assert parts(names, "pulses")["ring-high-pulsed-plain"] == parts(names, "3")["ring-high-pulsed-plain"] == "pulsed"
    assert parts(names, "rim+shape")["disk-low-steady-rimmed"] == "rimmed-disk"
    assert parts(names, "") == {name: name for name in names}
    with pytest.raises(InputError, match=r"found 'colour', valid: 1, 2, 3, 4, shape, pitch, pulses, rim"):
        parts(names, "colour")
    with pytest.raises(InputError, match=r"found '1\+1', valid"):
        parts(names, "1+1")


def test_parts_of_other_names() -> None:
    names = ("cat-loud", "cat-soft", "dog-loud")
    assert parts(names, "1") == {"cat-loud": "cat", "cat-soft": "cat", "dog-loud": "dog"}
    with pytest.raises(InputError, match="found 'shape', valid: 1, 2, each once"):
        parts(names, "shape")
    for whole in (("cat", "dog"), ("cat", "dog-loud")):
        with pytest.raises(InputError, match=r"no common number of parts joined by '-' \('cat'\)"):
            parts(whole, "1")


def test_labels_that_share_a_part_are_one() -> None:
    pair = read_pair(named("a-x a-y", "b-x"), named("b-y b-x"), label="1")
    assert (pair.classes, pair.single) == (("a", "b"), True)
    assert pair.train.indices().tolist() == [0, 1]
    assert pair.evaluated.indices().tolist() == [1]

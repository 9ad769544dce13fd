"""Retrieval by class against definitions written out query by query and against scikit-learn; ties, chance, blocks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from avbench.errors import InputError
from avbench.metrics import class_retrieval
from avbench.metrics.class_retrieval import ByClass, by_class, chance, overlap
from avbench.metrics.retrieval import similarity

Array = npt.NDArray[Any]


@st.composite
def galleries(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Sounds, pictures and labels of a few clips; vectors of few values, so that there are ties."""
    n, classes = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    audio, visual = rng.integers(-1, 2, (2, n, 1, 2)).astype(np.float32)
    audio[..., 0] += 3 * (audio == 0).all(axis=-1)  # a vector of zeros has no direction
    visual[..., 0] += 3 * (visual == 0).all(axis=-1)
    labels = rng.integers(0, 2, (n, classes)).astype(bool)
    labels[np.arange(n), rng.integers(classes, size=n)] = True
    return audio, visual, labels


def equal(a: float, b: float) -> bool:
    return abs(a - b) < 1e-9


def brute(scores: list[float], labels: Array, own: int) -> dict[str, float]:
    """The mean over all orders of tied candidates for what a random order decides, groups for AP, as documented."""
    shared = [len(set(np.flatnonzero(labels[own])) & set(np.flatnonzero(row))) for row in labels]
    union = [len(set(np.flatnonzero(labels[own])) | set(np.flatnonzero(row))) for row in labels]
    gains = [a / b for a, b in zip(shared, union, strict=True)]
    relevant = [j for j in range(len(scores)) if shared[j]]
    precisions = []
    for j in relevant:
        at_least = [i for i in range(len(scores)) if scores[i] > scores[j] or equal(scores[i], scores[j])]
        precisions.append(sum(i in relevant for i in at_least) / len(at_least))
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] > scores[b] or equal(scores[a], scores[b]) for a, b in itertools.pairwise(order))
    ]
    dcg = np.mean([sum(gains[i] / np.log2(place + 2) for place, i in enumerate(order)) for order in orders])
    ideal = sum(gain / np.log2(place + 2) for place, gain in enumerate(sorted(gains, reverse=True)))
    firsts = [order[0] for order in orders]
    return {
        "ap": float(np.mean(precisions)),
        "ndcg": float(dcg / ideal),
        "class_hit": float(np.mean([i in relevant for i in firsts])),
        "right_miss": float(np.mean([i in relevant and i != own for i in firsts])),
        "miss": float(np.mean([i != own for i in firsts])),
    }


@settings(deadline=None, max_examples=60)
@given(galleries())
def test_every_query_is_as_the_definitions_say(gallery: tuple[Array, Array, Array]) -> None:
    audio, visual, labels = gallery
    matrix = similarity(audio, visual)
    for found, scores in zip(by_class(audio, visual, labels, aggregation="mean"), (matrix, matrix.T), strict=True):
        for query in range(len(audio)):
            expected = brute(scores[query].tolist(), labels, query)
            assert {name: values[query] for name, values in found._asdict().items()} == pytest.approx(expected)


def drawn(n: int = 60, classes: int = 5, seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    audio = rng.standard_normal((n, 3, 8)).astype(np.float32)
    visual = (audio + 2 * rng.standard_normal((n, 3, 8))).astype(np.float32)
    labels = rng.random((n, classes)) < 0.3
    labels[np.arange(n), np.arange(n) % classes] = True
    return audio, visual, labels


def test_precision_and_gain_are_scikit_learns() -> None:
    audio, visual, labels = drawn()
    labels = np.eye(5, dtype=bool)[np.arange(60) % 5]  # of one label, gains are 0 and 1
    matrix = np.round(similarity(audio, visual, aggregation="max"), 1)  # with ties
    relevant = labels @ labels.T
    found = class_retrieval._judge(matrix, relevant.astype(np.float64), np.arange(60))
    assert found.ap == pytest.approx([average_precision_score(relevant[i], matrix[i]) for i in range(60)])
    assert found.ndcg == pytest.approx([ndcg_score(relevant[i][None], matrix[i][None]) for i in range(60)])


@pytest.mark.parametrize("aggregation", ["diagonal_mean", "diagonal_max", "mean", "max"])
def test_blocks_and_the_order_of_clips_change_nothing(aggregation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    audio, visual, labels = drawn()
    whole = by_class(audio, visual, labels, aggregation=aggregation)
    monkeypatch.setattr(class_retrieval, "BLOCK_VALUES", 7 * 60)
    order = np.random.default_rng(1).permutation(60)
    parts = by_class(audio[order], visual[order], labels[order], aggregation=aggregation)
    for one, other in zip(whole, parts, strict=True):
        for values, again in zip(one, other, strict=True):
            np.testing.assert_allclose(again, values[order], atol=1e-12)
    np.testing.assert_array_equal(overlap(labels[order]), overlap(labels)[order])


def test_the_perfect_order_is_one_and_all_of_one_class_too() -> None:
    labels = np.eye(4, dtype=bool)[np.arange(12) % 4]
    vectors = labels.astype(np.float32)[:, None] + 0.01
    for found in by_class(vectors, vectors, labels, aggregation="mean"):
        assert found.ap == pytest.approx(np.ones(12))
        assert found.ndcg == pytest.approx(np.ones(12))
        assert found.class_hit == pytest.approx(np.ones(12))
        assert found.miss == pytest.approx(np.full(12, 2 / 3))  # three alike
        assert (found.right_miss == found.miss).all()
    audio, visual, _ = drawn()
    assert by_class(audio, visual, np.ones((60, 1)), aggregation="mean")[0].ap == pytest.approx(np.ones(60))


def test_classes_of_one_clip_are_plain_retrieval() -> None:
    audio, visual, _ = drawn()
    found: ByClass = by_class(audio, visual, np.eye(60), aggregation="max")[0]
    scores = similarity(audio, visual, aggregation="max")
    places = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
    assert found.ap == pytest.approx(1 / places)
    assert found.ndcg == pytest.approx(1 / np.log2(places + 1))
    assert not found.right_miss.any()
    assert overlap(np.eye(60)).tolist() == [0] * 60


def test_chance_is_the_mean_over_all_orders() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 1], [0, 1]], bool)
    marks = labels.astype(np.float32)
    gains = class_retrieval._gains(marks, marks)
    found: list[ByClass] = [
        class_retrieval._judge(np.tile(np.array(order, np.float64), (4, 1)), gains, np.arange(4))
        for order in itertools.permutations(range(4))
    ]
    expected = {
        "mAP": np.mean([each.ap for each in found]),
        "nDCG": np.mean([each.ndcg for each in found]),
        "class@1": np.mean([each.class_hit for each in found]),
        "right_class_misses": np.sum([each.right_miss for each in found]) / np.sum([each.miss for each in found]),
    }
    assert chance(labels) == pytest.approx(expected)
    assert overlap(labels).tolist() == [1, 3, 2, 2]
    assert "right_class_misses" not in chance(labels[:1])


@pytest.mark.parametrize("labels", [np.zeros((60, 3)), np.ones(60), np.ones((59, 3))])
def test_labels_that_do_not_fit_are_refused(labels: Array) -> None:
    audio, visual, _ = drawn()
    with pytest.raises(InputError, match=r"labels: found shape .* valid: \(clips, classes\)"):
        by_class(audio, visual, labels, aggregation="mean")


def test_several_labels_and_clips_without_a_partner_are_as_counted() -> None:
    rng = np.random.default_rng(5)
    labels = np.zeros((20, 12), bool)
    labels[np.arange(12), np.arange(12) // 3] = True  # four classes of three clips
    labels[:4, 4] = True  # and some with two labels
    labels[np.arange(12, 19), 5 + np.arange(7)] = True  # clips that share a label with no other
    labels[19, [0, 4]] = True
    audio = rng.standard_normal((20, 1, 6)).astype(np.float32)
    visual = (audio + rng.standard_normal((20, 1, 6))).astype(np.float32)
    matrix = similarity(audio, visual)
    sets = [set(np.flatnonzero(row)) for row in labels]
    assert overlap(labels).tolist() == [sum(bool(a & b) for b in sets) - 1 for a in sets]
    assert (overlap(labels)[12:19] == 0).all()
    for found, scores in zip(by_class(audio, visual, labels, aggregation="mean"), (matrix, matrix.T), strict=True):
        firsts = scores.argmax(axis=1).tolist()
        missed = [i for i in range(20) if firsts[i] != i]
        right = [i for i in missed if sets[i] & sets[firsts[i]]]
        assert 0 < len(right) < len(missed)
        assert found.right_miss.sum() / found.miss.sum() == pytest.approx(len(right) / len(missed))
        alone = [1 / (1 + np.count_nonzero(scores[i] > scores[i, i])) for i in range(12, 19)]
        assert found.ap[12:19] == pytest.approx(alone)  # one relevant candidate: the reciprocal rank
        relevant = np.array([[bool(a & b) for b in sets] for a in sets])
        every = [average_precision_score(relevant[i], scores[i]) for i in range(20)]
        assert found.ap == pytest.approx(every)
        gains = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
        assert found.ndcg == pytest.approx([ndcg_score(gains[i][None], scores[i][None]) for i in range(20)])


def test_within_one_modality_a_clip_is_no_candidate_of_its_own() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((23, 1, 5)).astype(np.float32)
    labels = np.eye(4, dtype=bool)[rng.integers(0, 4, 23)]
    labels[7] = False
    lone = np.concatenate([labels, np.zeros((23, 1), bool)], axis=1)
    lone[7, 4] = True  # shares its label with none
    found = class_retrieval.within(values, lone, aggregation="diagonal_mean")
    unit = values[:, 0] / np.linalg.norm(values[:, 0], axis=1, keepdims=True)
    for query in range(23):
        others = np.array([i for i in range(23) if i != query])
        ranked = others[np.argsort(-(unit[others] @ unit[query]))]
        relevant = (lone[ranked] & lone[query]).any(axis=1)
        places = np.flatnonzero(relevant) + 1
        ap = np.mean(np.arange(1, len(places) + 1) / places) if len(places) else 0.0
        gains = relevant / np.log2(np.arange(2, 24))
        best = np.sort(relevant)[::-1] / np.log2(np.arange(2, 24))
        assert found.ap[query] == pytest.approx(ap)
        assert found.ndcg[query] == pytest.approx(gains.sum() / best.sum() if best.any() else 0.0)
        assert found.class_hit[query] == relevant[0]


def test_chance_within_one_modality_is_the_mean_of_random_orders() -> None:
    labels = np.eye(3, dtype=bool)[[0, 0, 0, 1, 1, 2]]
    rng = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {"mAP": [], "nDCG": [], "class@1": []}
    judged = class_retrieval.overlap(labels) > 0
    for _ in range(3000):
        found = class_retrieval.within(rng.standard_normal((6, 1, 8)), labels, aggregation="diagonal_mean")
        for name, values in zip(drawn, (found.ap, found.ndcg, found.class_hit), strict=True):
            drawn[name].append(float(values[judged].mean()))
    expected = class_retrieval.chance_within(labels)
    assert set(expected) == set(drawn)
    for name, values in drawn.items():
        assert np.mean(values) == pytest.approx(expected[name], abs=4 * np.std(values) / np.sqrt(3000))
    assert class_retrieval.chance_within(np.eye(3, dtype=bool)) == {}

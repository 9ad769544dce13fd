"""Ranks against brute force, the recordings of the reference, ties, degenerate inputs, blocks and memory."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avbench.bench.retrieval import draw, plain_ranks
from avbench.errors import InputError
from avbench.metrics.retrieval import (
    DIRECTIONS,
    METRICS,
    chance,
    credit,
    ranks,
    similarity,
    summarise,
)
from avbench.metrics.sides import AGGREGATIONS, Aggregation

RECORDED = ("R@1", "R@5", "R@10", "median_rank")
Floats = npt.NDArray[Any]


def features(n: int, frames: int = 3, d: int = 8, seed: int = 0) -> tuple[Floats, Floats]:
    draws = np.random.default_rng(seed).standard_normal((2, n, frames, d)).astype(np.float32)
    draws[1] += draws[0]  # so that counterparts are found more often than by chance
    return draws[0], draws[1]


def cosines(a: Floats, v: Floats) -> Floats:
    """The cosine of every pair of frames, one at a time: (F, G)."""
    a, v = a.astype(np.float64), v.astype(np.float64)
    return np.array([[x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for y in v] for x in a])


AGGREGATE = {
    "diagonal_mean": lambda c: c.diagonal().mean(),
    "diagonal_max": lambda c: c.diagonal().max(),
    "mean": lambda c: c.mean(),
    "max": lambda c: c.max(),
}


def brute(audio: Floats, visual: Floats, aggregation: str) -> Floats:
    return np.array([[AGGREGATE[aggregation](cosines(a, v)) for v in visual] for a in audio])


def brute_ranks(matrix: Floats) -> list[float]:
    found = []
    for i, row in enumerate(matrix):
        others = np.delete(row, i)
        equal = np.abs(others - row[i]) < 1e-11
        found.append(1 + ((others > row[i]) & ~equal).sum() + equal.sum() / 2)
    return found


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("block", [None, 5])
def test_equal_to_brute_force(aggregation: Aggregation, block: int | None) -> None:
    audio, visual = features(13)
    visual[7] = visual[2]
    audio[11] = 4 * audio[3]  # another length, the same direction
    matrix = brute(audio, visual, aggregation)
    np.testing.assert_allclose(similarity(audio, visual, aggregation=aggregation), matrix, atol=1e-12)
    found = ranks(audio, visual, aggregation=aggregation, block=block)
    np.testing.assert_array_equal(found.a2v, brute_ranks(matrix))
    np.testing.assert_array_equal(found.v2a, brute_ranks(matrix.T))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 2), st.integers(1, 3)).flatmap(
        lambda shape: arrays(np.int8, (2, *shape), elements=st.integers(-2, 2))
    ),
    st.sampled_from(AGGREGATIONS),
    st.integers(1, 8),
)
def test_small_whole_numbers_with_many_ties(values: Floats, aggregation: Aggregation, block: int) -> None:
    drawn = values.astype(np.float32)
    drawn[(drawn == 0).all(axis=-1)] = 1
    matrix = brute(drawn[0], drawn[1], aggregation)
    found = ranks(drawn[0], drawn[1], aggregation=aggregation, block=block)
    assert found.a2v.tolist() == brute_ranks(matrix)
    assert found.v2a.tolist() == brute_ranks(matrix.T)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_recordings_of_the_reference(shared: Path, aggregation: Aggregation) -> None:
    with np.load(shared / "parity" / "retrieval.npz") as recorded:
        audio, visual = recorded["audio"], recorded["visual"]
        found = similarity(audio, visual, aggregation=aggregation)
        metrics = summarise(ranks(audio, visual, aggregation=aggregation))
        for direction, matrix in zip(DIRECTIONS, (found, found.T), strict=True):
            np.testing.assert_allclose(matrix, recorded[f"{aggregation}/{direction}/similarity"], atol=1e-6)
            ours = [metrics[f"{direction}/{name}"] for name in RECORDED]
            np.testing.assert_allclose(ours, recorded[f"{aggregation}/{direction}/metrics"], atol=1e-6)


def test_recordings_of_the_first_frame_alone(shared: Path) -> None:
    with np.load(shared / "parity" / "retrieval.npz") as recorded:
        for aggregation in AGGREGATIONS:  # with one frame all are the same
            metrics = summarise(ranks(recorded["audio"][:, :1], recorded["visual"][:, 0], aggregation=aggregation))
            for direction in DIRECTIONS:
                ours = [metrics[f"{direction}/{name}"] for name in RECORDED]
                np.testing.assert_allclose(ours, recorded[f"single/{direction}/metrics"], atol=1e-6)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_constant_features_give_the_middle_rank(aggregation: Aggregation) -> None:
    n, (audio, visual) = 57, features(1, frames=2, d=33)
    found = ranks(np.repeat(audio, n, 0), np.repeat(visual, n, 0), aggregation=aggregation, block=10)
    assert set(found.a2v) == set(found.v2a) == {(n + 1) / 2}
    metrics = summarise(found)
    assert metrics["a2v/median_rank"] == metrics["v2a/mean_rank"] == (n + 1) / 2
    for k in (1, 5, 10):  # no better and no worse than any order
        assert metrics[f"a2v/R@{k}"] == metrics[f"v2a/R@{k}"] == pytest.approx(k / n)


def test_a_tie_over_place_k_counts_by_its_chance() -> None:
    """Two better and three as good: the own one is at places 3 to 6, each with a quarter."""
    assert [credit(k, np.array([4.5]), np.array([3]))[0] for k in range(1, 8)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert credit(5, np.array([5.0, 5.5, 6.0])).tolist() == [1, 0, 0]  # of records without ties


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(1, 6))
def test_credit_is_the_mean_over_all_orders_of_the_tied(row: list[int], k: int) -> None:
    better = sum(value > row[0] for value in row)
    ties = row.count(row[0]) - 1
    places = [sorted(order, key=lambda i: -row[i]).index(0) + 1 for order in itertools.permutations(range(len(row)))]
    wanted = np.mean([place <= k for place in places])
    assert credit(k, np.array([1 + better + ties / 2]), np.array([ties]))[0] == pytest.approx(wanted)


def test_duplicates_in_different_blocks_tie() -> None:
    audio, visual = features(300, frames=1, d=96)
    audio = visual.copy()  # every clip finds itself
    visual[250], visual[99] = visual[3], visual[3]
    audio[250], audio[99] = audio[3], audio[3]
    for block in (7, 64, 300):
        found = ranks(audio, visual, block=block)
        assert found.a2v[[3, 99, 250]].tolist() == found.v2a[[3, 99, 250]].tolist() == [2.0] * 3
        assert (np.delete(found.a2v, [3, 99, 250]) == 1).all()
        assert found.ties[0] is not None
        assert found.ties[0][[3, 99, 250]].tolist() == [2, 2, 2]
        assert summarise(found)["a2v/R@1"] == pytest.approx((297 + 3 / 3) / 300)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_block_size_changes_no_bit(aggregation: Aggregation) -> None:
    audio, visual = features(211, frames=2, d=48)
    visual[100:150] = visual[:50]
    whole = ranks(audio, visual, aggregation=aggregation)
    for block in (4, 17, 128, 1000):
        found = ranks(audio, visual, aggregation=aggregation, block=block)
        assert found.a2v.tobytes() == whole.a2v.tobytes()
        assert found.v2a.tobytes() == whole.v2a.tobytes()


def test_nearly_equal_vectors_are_told_apart() -> None:
    # One unit in the last place of float32 is a difference; a float32 product would not see it.
    visual = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)
    visual[1] = visual[0]
    visual[1, 0] = np.nextafter(visual[1, 0], np.float32(np.inf))
    query = np.zeros((2, 256), np.float32)
    query[:, 0] = 1  # the larger first value is nearer
    assert ranks(query, visual).a2v.tolist() == [2.0, 1.0]


def test_one_clip_is_found_at_once() -> None:
    metrics = summarise(ranks(*features(1)))
    assert metrics == chance(1) == {f"{direction}/{name}": 1.0 for direction in DIRECTIONS for name in METRICS}


def test_lengths_do_not_matter_even_extreme_ones() -> None:
    audio, visual = features(20)
    scales = np.float32(10.0) ** np.random.default_rng(0).integers(-30, 30, (20, 1, 1)).astype(np.float32)
    assert ranks(audio * scales, visual / scales).a2v.tolist() == ranks(audio, visual).a2v.tolist()


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite"), (0.0, "zeros")]
)
@pytest.mark.parametrize("side", [0, 1])
def test_unusable_values_are_named(value: float, words: str, side: int) -> None:
    pair = features(9)
    pair[side][[2, 4, 5, 8], 1] = value
    with pytest.raises(InputError, match=rf"{words} in 4 of 9 clips \(clip2, clip4, clip5, \.\.\.\)") as error:
        ranks(*pair, ids=[f"clip{i}" for i in range(9)])
    assert str(error.value).startswith(("audio", "visual")[side])
    with pytest.raises(InputError, match="row 2"):
        similarity(*pair)


def test_shapes_that_do_not_fit_are_refused() -> None:
    audio, visual = features(6)
    for aggregation in ("diagonal_mean", "diagonal_max"):
        with pytest.raises(InputError, match="3 audio and 2 visual frames, valid: as many of both, or one of either"):
            ranks(audio, visual[:, :2], aggregation=aggregation)
    assert len(ranks(audio, visual[:, :2], aggregation="max").a2v) == 6
    with pytest.raises(InputError, match="6 and 5 clips"):
        ranks(audio, visual[:5])
    with pytest.raises(InputError, match="widths 8 and 7"):
        ranks(audio, visual[..., :7])
    with pytest.raises(InputError, match="shape"):
        ranks(audio[:0], visual[:0])
    with pytest.raises(InputError, match="Did you mean 'diagonal_mean'"):
        ranks(audio, visual, aggregation="diagonal_man")  # type: ignore[arg-type]


def test_chance_is_what_random_features_give_on_average() -> None:
    found = [summarise(ranks(*np.random.default_rng(seed).standard_normal((2, 30, 4)))) for seed in range(200)]
    for name, value in chance(30).items():
        drawn = [metrics[name] for metrics in found]
        assert abs(np.mean(drawn) - value) < 5 * np.std(drawn) / len(drawn) ** 0.5


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_benchmark_compares_the_same_work(aggregation: Aggregation) -> None:
    audio, visual = draw(12, 3, 16)
    np.testing.assert_array_equal(
        plain_ranks(audio, visual, aggregation), ranks(audio, visual, aggregation=aggregation)
    )


def test_memory_does_not_grow_with_the_square() -> None:
    # The whole matrix is 576 MB in float32. 100,000 x 768 has the same blocks, 12 times as wide (13 MB a side).
    audio, visual = features(12_000, frames=1, d=64)
    tracemalloc.start()
    try:
        ranks(audio, visual)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6

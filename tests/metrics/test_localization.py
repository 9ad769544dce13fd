"""cIoU and its curves against brute force, and the public boxes' reference points.

Source: docs/protocol/cavmae_sync.md 5 and 8.9.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avbench.data.annotations.read import read_annotations
from avbench.data.annotations.sample import Annotations
from avbench.errors import InputError
from avbench.metrics import localization as loc

DEGENERATE = ("random", "ties", "constant", "empty", "full", "soft")


def case(kind: str, seed: int = 0, n: int = 5, size: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Maps and ground truths, ordinary or degenerate."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(n, size, size))
    truth = (rng.random((n, size, size)) < 0.3).astype(np.float32)
    if kind == "ties":
        maps = rng.integers(0, 3, maps.shape).astype(float)
    elif kind == "constant":
        maps[:] = 0.25
    elif kind == "empty":
        truth[:] = 0
    elif kind == "full":
        truth[:] = 1
    elif kind == "soft":
        truth = rng.integers(0, 3, truth.shape).astype(np.float32) / 2
    return maps, truth


def slow_ciou(predicted: np.ndarray, truth: np.ndarray) -> float:
    above = below = 0.0
    for p, g in zip(predicted.ravel(), truth.ravel(), strict=True):
        above += g if p else 0
        below += g
        below += 1 if p and g == 0 else 0
    return above / below if below else 0.0


def slow_auc(values: np.ndarray) -> float:
    rates = [np.mean([v >= 0.05 * i for v in values]) for i in range(21)]
    return sum((rates[i] + rates[i + 1]) / 2 * (0.05 * (i + 1) - 0.05 * i) for i in range(20))


def slow_binary(values: np.ndarray, rule: str) -> np.ndarray:
    ordered = sorted(values.ravel())
    half = len(ordered) // 2
    if rule == "lvs":
        return values > ordered[half]
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return values >= median


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("size", [6, 7])
def test_ciou_equals_brute_force(kind: str, size: int) -> None:
    maps, truth = case(kind, size=size)
    for rule in loc.BINARISATIONS:
        found = loc.binarise(maps, rule)
        assert np.array_equal(found, [slow_binary(m, rule) for m in maps])
        assert loc.ciou(found, truth) == pytest.approx([slow_ciou(p, g) for p, g in zip(found, truth, strict=True)])


def test_constant_maps_predict_everything_or_nothing() -> None:
    maps = np.full((1, 6, 6), 0.5)
    assert loc.binarise(maps, "ez").all()
    assert not loc.binarise(maps, "lvs").any()
    empty = np.zeros((1, 6, 6))
    assert loc.ciou(loc.binarise(maps, "lvs"), empty)[0] == 0
    assert np.array_equal(loc.min_max(maps), maps)


def test_min_max_keeps_ranks() -> None:
    maps, _ = case("random")
    scaled = loc.min_max(maps)
    assert scaled.min(axis=(1, 2)) == pytest.approx(0)
    assert scaled.max(axis=(1, 2)) == pytest.approx(1)
    for rule in loc.BINARISATIONS:
        assert np.array_equal(loc.binarise(scaled, rule), loc.binarise(maps * 7 - 3, rule))


@pytest.mark.parametrize("kind", ["random", "ties", "empty", "full", "soft", "constant"])
def test_adaptive_predicts_as_many_as_the_truth_has(kind: str) -> None:
    maps, truth = case(kind)
    found = loc.binarise_adaptive(maps, truth)
    for p, m, g in zip(found, maps, truth, strict=True):
        count = int((g > 0).sum()) or g.size // 2
        assert np.array_equal(p, m > sorted(m.ravel())[m.size - count])
    if kind == "random":
        assert (found.sum(axis=(1, 2)) == (truth > 0).sum(axis=(1, 2)) - 1).all()


@pytest.mark.parametrize("kind", ["random", "soft", "empty", "full"])
def test_oracle_is_the_best_choice_of_half_the_pixels(kind: str) -> None:
    from itertools import combinations

    _, truth = case(kind, n=2, size=4)
    truth = truth[:, :3, :3]
    best = []
    for g in truth:
        scores = []
        for chosen in combinations(range(9), 5):
            p = np.zeros(9)
            p[list(chosen)] = 1
            scores.append(slow_ciou(p, g))
        best.append(max(scores))
    assert loc.oracle_ciou(truth) == pytest.approx(best)


def test_auc_and_hits_equal_brute_force() -> None:
    values = np.concatenate([np.random.default_rng(0).random(50), [0.0, 0.5, 1.0, 0.05 * 3, 0.05 * 6, 0.15, 0.3]])
    assert loc.areas(values).mean() == pytest.approx(slow_auc(values), abs=1e-12)
    assert loc.hits(values).mean() == np.mean(values >= 0.5)
    rates = loc.success_rates(values)
    assert rates[0] == 1
    assert (np.diff(rates) <= 0).all()


def test_group_minimum_is_the_worse_source() -> None:
    values, groups = np.array([0.9, 0.2, 0.6, 0.7]), np.array(["b", "a", "b", "a"])
    assert loc.group_minimum(values, groups).tolist() == [0.2, 0.6]


def slow_extended(values: np.ndarray, sure: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    points = []
    for threshold in sorted(set(sure), reverse=True):
        tp = fp = fn = 0
        for v, s, p in zip(values, sure, positive, strict=True):
            if s >= threshold:
                tp, fp = (tp + 1, fp) if p and v >= 0.5 else (tp, fp + 1)
            elif p:
                fn += 1
        points.append((tp / (tp + fp) if tp + fp else 1.0, tp / (tp + fn) if tp + fn else 1.0))
    ap, before = 0.0, 0.0
    for i, (_, recall) in enumerate(points):
        ap += max(p for p, _ in points[i:]) * (recall - before)
        before = recall
    return ap, max(2 * p * r / (p + r) if p + r else 0.0 for p, r in points)


@pytest.mark.parametrize("ties", [False, True])
def test_extended_equals_brute_force(ties: bool) -> None:
    rng = np.random.default_rng(1)
    values, sure, positive = rng.random(60), rng.random(60), rng.random(60) < 0.6
    if ties:
        sure = np.round(sure, 1)
    found = loc.extended(values, sure, positive)
    assert (found.ap, found.max_f1) == pytest.approx(slow_extended(values, sure, positive))
    assert found.accuracy == (values[positive] >= 0.5).mean()


def test_extended_reference_form_leaves_steps_out() -> None:
    values, sure = np.array([0.9, 0.9, 0.1, 0.9]), np.array([0.9, 0.8, 0.7, 0.6])
    positive = np.array([True, True, True, False])
    found = loc.extended(values, sure, positive, form="reference")
    # Thresholds 0.8, 0.7, 0.6: recall 2/3, 1, 1 and precision 1, 2/3, 1/2.
    assert found.ap == pytest.approx(1 / 3)
    assert found.max_f1 == pytest.approx(0.8)


@pytest.mark.parametrize("positive", [np.zeros(4, bool), np.ones(4, bool)])
def test_extended_without_positives_or_negatives(positive: np.ndarray) -> None:
    found = loc.extended(np.full(4, 0.9), np.full(4, 0.3), positive)
    assert found == ((1.0, 1.0, 1.0) if positive.any() else (0.0, 0.0, 0.0))


def test_confidence_is_the_mean_of_the_top_quarter() -> None:
    maps = np.arange(16.0).reshape(1, 4, 4)
    assert loc.confidence(maps)[0] == np.mean([12, 13, 14, 15])


def test_maps_that_cannot_be_used_are_refused() -> None:
    bad = np.zeros((2, 3, 3))
    bad[1, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite in 1 of 2"):
        loc.binarise(bad, "ez")
    with pytest.raises(InputError, match="shape"):
        loc.binarise(np.zeros((3, 3)), "ez")
    with pytest.raises(InputError, match="unknown binarisation"):
        loc.binarise(np.zeros((1, 3, 3)), "median")  # type: ignore[arg-type]


def points(annotations: Annotations, *names: str) -> dict[str, tuple[float, float]]:
    """cIoU@0.5 and AUC in percent of maps that know the truth, or nothing."""
    disc = loc.centre_disc(annotations.size)[None]
    predict = {
        "whole": np.ones_like,
        "disc": lambda truth: np.repeat(loc.binarise(disc, "ez"), len(truth), axis=0),
        "disc_strict": lambda truth: np.repeat(loc.binarise(disc, "lvs"), len(truth), axis=0),
        "truth": lambda truth: loc.binarise(truth, "ez"),
        "truth_strict": lambda truth: loc.binarise(truth, "lvs"),
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for first in range(0, len(annotations), 64):
        truth = annotations.masks(range(first, min(first + 64, len(annotations))))
        for name in names:
            found[name].append(loc.oracle_ciou(truth) if name == "oracle" else loc.ciou(predict[name](truth), truth))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: (100 * loc.hits(v).mean(), 100 * loc.areas(v).mean()) for name, v in joined.items()}


def test_vggss_reference_points(shared: Path) -> None:
    expected = {"oracle": (50.54, 49.47), "disc": (34.02, 37.44), "whole": (21.946, 31.254)}
    found = points(read_annotations(shared / "data/annotations/vggss/vggss.json"), *expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=0.006), name


@pytest.mark.slow
def test_vggss_reference_points_of_other_rules(shared: Path) -> None:
    expected = {"disc_strict": (33.95, 37.43), "truth": (21.95, 38.32), "truth_strict": (78.01, 78.56)}
    found = points(read_annotations(shared / "data/annotations/vggss/vggss.json"), *expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=0.006), name


@pytest.mark.parametrize(
    ("file", "oracle", "disc"),
    [("is3/synthetic3240_bbox.json", (58.6, 55.5), (34.1, 39.4)), ("avsbench/s4_box.json", (58.9, 53.8), (42.4, 40.3))],
)
def test_other_boxes_reference_points(
    shared: Path, file: str, oracle: tuple[float, float], disc: tuple[float, float]
) -> None:
    found = points(read_annotations(shared / "data/annotations" / file), "oracle", "disc")
    assert found["oracle"] == pytest.approx(oracle, abs=0.051)
    assert found["disc"] == pytest.approx(disc, abs=0.051)


def test_both_rasterisations_draw_the_same(shared: Path) -> None:
    path = shared / "data/annotations/vggss/vggss.json"
    ez, lvs = read_annotations(path), read_annotations(path, rule="lvs")
    empty = 0
    for first in range(0, len(ez), 256):
        rows = range(first, min(first + 256, len(ez)))
        truth = ez.masks(rows)
        assert np.array_equal(truth, lvs.masks(rows))
        empty += int((truth.sum(axis=(1, 2)) == 0).sum())
    assert empty == 2
    dirty = [e for e in json.loads(path.read_text()) if any(v < 0 for box in e["bbox"] for v in box)]
    assert dirty

"""AP, IoU, AVSBench's mIoU and F, ADE20K's pooled classes: against brute force, on ordinary and degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from avbench.errors import InputError
from avbench.metrics import segmentation as seg

KINDS = ("random", "ties", "constant", "empty", "full")


def case(kind: str, n: int = 6, size: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps, truth = rng.random((n, size, size)), (rng.random((n, size, size)) < 0.3).astype(np.float32)
    if kind == "ties":
        maps = rng.integers(0, 4, maps.shape) / 4
    elif kind == "constant":
        maps[:] = 0.5
    elif kind == "empty":
        truth[:] = 0
    elif kind == "full":
        truth[:] = 1
    return maps, truth


@pytest.mark.parametrize("kind", KINDS)
def test_average_precision_equals_scikit_learn(kind: str) -> None:
    maps, truth = case(kind)
    if kind == "empty":
        assert (seg.average_precision(maps, truth) == 0).all()
        return
    expected = [average_precision_score(g.ravel(), m.ravel()) for m, g in zip(maps, truth, strict=True)]
    assert seg.average_precision(maps, truth) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_iou_at_area_equals_brute_force(kind: str) -> None:
    maps, truth = case(kind)
    for m, g, found in zip(maps, truth, seg.iou_at_area(maps, truth), strict=True):
        count = int(g.sum())
        if count == 0:
            assert found == 0
            continue
        chosen = m >= sorted(m.ravel(), reverse=True)[count - 1]
        assert found == pytest.approx((chosen & (g > 0)).sum() / (chosen | (g > 0)).sum())
    if kind == "constant":
        assert seg.iou_at_area(maps, truth) == pytest.approx(truth.mean(axis=(1, 2)))


def test_peak_of_ties_counts_their_share() -> None:
    maps, truth = np.zeros((2, 2, 2)), np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]]])
    maps[1, 0] = 1
    assert seg.peak_hits(maps, truth).tolist() == [0.25, 1.0]


def slow_avs_iou(p: np.ndarray, g: np.ndarray) -> float:
    inter = union = 0
    for a, b in zip(p.ravel(), g.ravel(), strict=True):
        inter += int(a and b)
        union += int(a or b)
    if not g.any():
        inter, union = int((~p).sum()), p.size
    return inter / (union + 1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_avs_iou_equals_brute_force(kind: str) -> None:
    maps, truth = case(kind)
    predicted = maps > 0.5
    expected = [slow_avs_iou(p, g > 0) for p, g in zip(predicted, truth, strict=True)]
    assert seg.avs_iou(predicted, truth) == pytest.approx(expected, abs=1e-12)


def slow_curve(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    curve = []
    for threshold in np.linspace(0, 1 - 1e-10, 255):
        p = (values >= threshold).astype(float)
        tp = (p * truth).sum()
        precision, recall = tp / (p.sum() + 1e-20), tp / (truth.sum() + 1e-20)
        below = 0.3 * precision + recall
        curve.append(1.3 * precision * recall / below if below else 0.0)
    return np.array(curve)


@pytest.mark.parametrize("kind", KINDS)
def test_f_equals_brute_force_and_depends_on_batches_only_by_name(kind: str) -> None:
    maps, truth = case(kind, n=7)
    maps[0, 0, :3] = [0.0, 1.0, 1 - 1e-10]
    if kind == "random":
        truth[3] = 0
    curves = seg.f_curves(maps, truth)
    kept = [i for i in range(7) if truth[i].any()]
    expected = [slow_curve(maps[i], truth[i]) for i in kept]
    if not kept:
        assert np.isnan(curves).all()
        assert seg.f_score(curves) == 0
        return
    assert curves[kept] == pytest.approx(np.array(expected))
    assert seg.f_score(curves) == pytest.approx(np.mean(expected, axis=0).max())
    batches = [[i for i in kept if first <= i < first + 3] for first in (0, 3, 6)]
    per_batch = [curves[b].mean(axis=0).max() if b else 0.0 for b in batches]
    assert seg.f_score(curves, form="per_batch", batch=3) == pytest.approx(np.mean(per_batch))


@pytest.mark.parametrize("kind", KINDS)
def test_pooled_class_equals_brute_force(kind: str) -> None:
    maps, truth = case(kind)
    found = seg.pooled_class(maps, truth)
    value, mark = maps.ravel(), truth.ravel() > 0
    best = 0.0
    for threshold in np.linspace(value.min(), value.max(), 20):
        p = value > threshold
        best = max(best, (p & mark).sum() / max((p | mark).sum(), 1))
    assert found.iou == pytest.approx(best)
    assert found.ap == pytest.approx(average_precision_score(mark, value) if mark.any() else 0)


def test_pooled_class_ignores_an_affine_change_of_all_maps_together() -> None:
    maps, truth = case("random")
    scaled = (maps - maps.min()) / (maps.max() - maps.min())
    assert seg.pooled_class(maps * 4, truth) == pytest.approx(seg.pooled_class(scaled, truth))


def test_sigmoid_does_not_overflow() -> None:
    assert seg.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_shapes_and_values_are_checked() -> None:
    with pytest.raises(InputError, match="found shapes"):
        seg.average_precision(np.zeros((2, 3, 3)), np.zeros((2, 3, 4)))
    with pytest.raises(InputError, match="not finite"):
        seg.iou_at_area(np.full((1, 3, 3), np.inf), np.zeros((1, 3, 3)))
    with pytest.raises(InputError, match="F-score"):
        seg.f_score(np.zeros((0, 255)))

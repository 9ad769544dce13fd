"""What tests need of runs: the arrays that are read, and estimates on the resamples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.compare.outputs import FEW, RESAMPLES, Measured, Outputs, Ran, _means, per_sample
from avbench.errors import InputError
from avbench.metrics.bootstrap import resample_indices
from avbench.metrics.classification import summarise
from avbench.metrics.evidence import Mean
from avbench.store.records import SCHEMA, write_record

N, CLASSES = 40, 4


def scored(results: Path, run_id: str, seed: int) -> dict[str, Any]:
    """Writes a run's per-sample outputs of two streams."""
    draw = np.random.default_rng(seed)
    target = np.arange(N) % CLASSES
    arrays: dict[str, Any] = {"id": np.array([f"clip{i:02d}" for i in range(N)]), "target": target}
    for stream in ("audio", "joint"):
        scores = np.eye(CLASSES)[target] + draw.standard_normal((N, CLASSES))
        arrays |= {f"{stream}/scores": scores, f"{stream}/top1": (scores.argmax(axis=1) == target).astype(float)}
    write_record(results, {"schema": SCHEMA, "id": run_id, "metrics": {}}, arrays)
    return arrays


def of(metric: str, *names: str) -> Measured:
    runs = tuple(Ran(name, "2026", seed, 0.5) for seed, name in enumerate(names))
    return Measured("classification", metric, {}, "clips", runs)


def test_only_the_arrays_a_metric_needs_are_read(tmp_path: Path) -> None:
    scored(tmp_path, "a", 0)
    assert set(per_sample(tmp_path, "a", "joint/top1")) == {"id", "target", "joint/top1"}
    assert set(per_sample(tmp_path, "a", "joint/mAP")) == {"id", "target", "joint/top1", "joint/scores"}
    (tmp_path / "runs" / "a" / "per_sample.npz").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        per_sample(tmp_path, "a", "joint/mAP")


def test_all_seeds_are_on_the_same_resamples(tmp_path: Path) -> None:
    arrays = [scored(tmp_path, name, seed) for seed, name in enumerate(("a", "b"))]
    hits = Outputs(tmp_path).sample(of("joint/top1", "a", "b"))
    assert hits is not None
    assert (hits.seeds, hits.units, hits.drawn.shape) == ((0, 1), N, (2, 1000))
    for row, each in zip(hits.drawn, arrays, strict=True):
        assert row[7] == pytest.approx(each["joint/top1"][resample_indices(N, 7)].mean())


def test_means_over_unlike_numbers_of_samples_have_their_own_divisors() -> None:
    draw = np.random.default_rng(0)
    counts = [draw.integers(0, 4, N).astype(float) for _ in range(2)]
    means = {name: Mean(draw.random(N), counts[name in "bd"]) for name in "abcd"}
    rows = np.stack([resample_indices(N, r) for r in range(RESAMPLES)])
    weights = np.stack([np.bincount(each, minlength=N) for each in rows]).astype(float)
    for drawn, mean in zip(_means(means, weights), means.values(), strict=True):
        assert drawn == pytest.approx(mean(rows))


def test_what_is_no_mean_is_computed_anew_of_each_resample(tmp_path: Path) -> None:
    arrays = scored(tmp_path, "a", 0)
    found = Outputs(tmp_path).sample(of("joint/mAP", "a"))
    assert found is not None
    wanted = [
        summarise(arrays["joint/scores"][rows], arrays["target"][rows])["mAP"]
        for rows in (resample_indices(N, r) for r in range(FEW))
    ]
    assert found.drawn[0] - found.drawn[0].mean() == pytest.approx(np.array(wanted) - np.mean(wanted))


def test_what_cannot_be_tested_is_none(tmp_path: Path) -> None:
    scored(tmp_path, "a", 0)
    assert Outputs(tmp_path).sample(of("joint/top1", "a", "gone")) is None
    assert Outputs(tmp_path).sample(of("joint/unknown", "a")) is None
    newer = Measured("classification", "joint/top1", {"depth": 3}, "clips", (Ran("a", "2026", 0, 0.5),))
    assert Outputs(tmp_path).sample(newer) is None


def absent() -> dict[str, Any]:
    draw = np.random.default_rng(0)
    names = ("peak", "marked", "area", "cIoU", "cIoU_one", "vision_only/cIoU")
    kinds = [f"{kind}/{name}" for kind in ("silence", "noise", "other_class") for name in ("peak", "marked")]
    group = np.array([f"picture{i // 2}" for i in range(N)])
    return {"group": group, "threshold": np.full(N, 0.5), **{name: draw.random(N) for name in (*names, *kinds)}}


def corrupted() -> dict[str, Any]:
    draw = np.random.default_rng(0)
    names = ("clean", "sound_noise@1", "blur@3")
    return {
        f"{name}/{side}_{kind}": draw.integers(1, N, N).astype(float) if kind == "rank" else np.zeros(N)
        for name in names
        for side in ("a2v", "v2a")
        for kind in ("rank", "ties")
    }


@pytest.mark.parametrize(
    ("task", "outputs", "metric"),
    [
        ("absent_sound", absent, "silence/below"),
        ("absent_sound", absent, "noise/marked"),
        ("corruption", corrupted, "blur@3/a2v/R@10"),
        ("corruption", corrupted, "drop/sound/v2a/R@10"),
    ],
)
def test_a_metric_whose_task_looks_at_other_streams_has_samples(
    tmp_path: Path, task: str, outputs: Any, metric: str
) -> None:
    arrays = {"id": np.array([f"clip{i:02d}" for i in range(N)]), **outputs()}
    write_record(tmp_path, {"schema": SCHEMA, "id": "a", "metrics": {}}, arrays)
    found = Outputs(tmp_path).sample(Measured(task, metric, {}, "clips", (Ran("a", "2026", 0, 0.5),)))
    assert found is not None
    assert found.drawn.std() > 0

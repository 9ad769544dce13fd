"""The retrieval task, from a features file to JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from avbench import registry
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.metrics.bootstrap import resample_indices
from avbench.metrics.retrieval import DIRECTIONS, METRICS, ranks
from avbench.metrics.shares import wilson
from avbench.store.features import Features, write_features
from avbench.tasks.given_features import evaluate_features
from avbench.tasks.retrieval import CARD, CONFIG, TASK, RetrievalConfig

KEYS = {f"{direction}/{name}" for direction in DIRECTIONS for name in METRICS}


def features(n: int = 40, frames: int = 4) -> Features:
    audio, noise = np.random.default_rng(0).standard_normal((2, n, frames, 16)).astype(np.float32)
    return Features([f"clip{i:03d}" for i in range(n)], audio, audio + 2 * noise, {"method": {"name": "mine"}})


def test_result_holds_metrics_chance_intervals_and_ranks() -> None:
    given = features()
    result = TASK.evaluate(given, RetrievalConfig())
    assert result.n == 40
    assert result.ids_sha256 == hash_ids(given.ids)
    assert set(result.metrics) == set(result.chance) == set(result.ci95) == KEYS
    assert result.chance["a2v/R@10"] == 0.25
    assert result.chance["v2a/median_rank"] == 20.5
    assert all(low <= result.metrics[name] <= high for name, (low, high) in result.ci95.items())
    assert result.per_sample["id"].tolist() == given.ids
    for direction in DIRECTIONS:
        values = result.per_sample[f"{direction}_rank"]
        assert result.metrics[f"{direction}/R@5"] == (values <= 5).mean()
        assert result.metrics[f"{direction}/mean_rank"] == values.mean()


def test_options_reach_the_ranks() -> None:
    given = features()
    for config in (RetrievalConfig(aggregation="max"), RetrievalConfig(aggregation="mean"), RetrievalConfig(frame=2)):
        chosen = slice(None) if config.frame < 0 else slice(config.frame, config.frame + 1)
        expected = ranks(given.audio[:, chosen], given.visual[:, chosen], aggregation=config.aggregation)
        result = TASK.evaluate(given, config)
        np.testing.assert_array_equal(result.per_sample["a2v_rank"], expected.a2v)
        np.testing.assert_array_equal(result.per_sample["v2a_rank"], expected.v2a)


def test_the_same_features_give_the_same_numbers_and_order_does_not_matter() -> None:
    given, order = features(), np.random.default_rng(1).permutation(40)
    first, again = TASK.evaluate(given, CONFIG()), TASK.evaluate(given, CONFIG())
    assert first.to_dict() == again.to_dict()
    shuffled = Features([given.ids[i] for i in order], given.audio[order], given.visual[order])
    other = TASK.evaluate(shuffled, CONFIG())
    assert (other.metrics, other.ids_sha256) == (first.metrics, first.ids_sha256)


def test_embeddings_that_are_all_the_same_are_at_chance() -> None:
    audio, visual = np.ones((40, 1, 16), np.float32), np.full((40, 1, 16), 2, np.float32)
    given = Features([f"clip{i:03d}" for i in range(40)], audio, visual)
    result = TASK.evaluate(given, RetrievalConfig())
    assert result.metrics == pytest.approx(result.chance)
    assert result.ci95["a2v/R@1"] == pytest.approx(wilson(1 / 40, 40))
    assert result.per_sample["v2a_ties"].tolist() == [39] * 40
    assert TASK.recompute(result.per_sample, given.ids, RetrievalConfig()) == result.metrics


def test_intervals_of_recalls_are_wilsons_and_those_of_ranks_percentiles() -> None:
    given = features()
    result = TASK.evaluate(given, RetrievalConfig(resamples=50))
    for name in ("R@1", "R@5", "R@10"):
        assert result.ci95[f"a2v/{name}"] == pytest.approx(wilson(result.metrics[f"a2v/{name}"], 40))
    ranks_of = result.per_sample["v2a_rank"]
    drawn = [np.median(ranks_of[resample_indices(40, r)]) for r in range(50)]
    assert result.ci95["v2a/median_rank"] == pytest.approx(np.quantile(drawn, (0.025, 0.975)))


def test_records_without_ties_give_the_numbers_they_gave() -> None:
    """Until version 2 of the task a query counted where its rank, ties counted half, was k or better."""
    outputs = {"id": np.array(["x", "y"]), "a2v_rank": np.array([1.5, 1.0]), "v2a_rank": np.array([1.0, 10.5])}
    found = TASK.evidence(outputs, RetrievalConfig()).values
    assert (found["a2v/R@1"], found["v2a/R@10"]) == (0.5, 0.5)
    kept = {"a2v_ties": np.array([1, 0]), "v2a_ties": np.array([0, 1])}
    assert TASK.evidence({**outputs, **kept}, RetrievalConfig()).values["a2v/R@1"] == 0.75


def test_no_resamples_no_intervals() -> None:
    assert TASK.evaluate(features(), RetrievalConfig(resamples=0)).ci95 == {}


def test_a_frame_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"task\.frame: found 4, valid: -1 to 3"):
        TASK.evaluate(features(), RetrievalConfig(frame=4))


def test_a_file_becomes_json(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_features(path, features())
    result = evaluate_features(path, TASK, RetrievalConfig(aggregation="mean", resamples=50))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result) == {"task", "n", "ids_sha256", "metrics", "chance", "ci95", "config"}
    assert result["task"] == "retrieval"
    assert result["config"]["method"] == {"name": "mine"}
    assert result["config"]["task"]["aggregation"] == "mean"
    assert all(len(interval) == 2 for interval in result["ci95"].values())


def test_anyones_file_with_one_frame_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    given = features(frames=1)
    np.savez(path, id=np.array(given.ids), audio=given.audio[:, 0].astype(np.float16), visual=given.visual[:, 0])
    assert evaluate_features(path, TASK, CONFIG())["n"] == 40


def test_unusable_values_name_file_and_clip(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    given = features()
    given.visual[6, 0, 0] = np.nan
    write_features(path, given)
    with pytest.raises(InputError, match=r"x\.npz: visual: found values that are not finite in 1 of 40 .*clip006"):
        evaluate_features(path, TASK, CONFIG())


def test_the_registry_reads_the_card() -> None:
    assert registry.find("task", "retrieval").card.items() <= dataclasses.asdict(CARD).items()


def test_needs_no_torch() -> None:
    code = "import sys, avbench.tasks.retrieval; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("config", [RetrievalConfig(), RetrievalConfig(aggregation="max"), RetrievalConfig(frame=1)])
def test_fewer_clips_are_ranked_among_each_other(config: RetrievalConfig) -> None:
    given = features()
    result = TASK.evaluate(given, config)
    assert TASK.recompute(result.per_sample, given.ids, config) == result.metrics
    rows = np.random.default_rng(3).permutation(40)[:23]

    def embeddings(ids: Sequence[str]) -> Features:
        chosen = [given.ids.index(name) for name in ids]
        return Features(list(ids), given.audio[chosen], given.visual[chosen])

    kept = [given.ids[row] for row in rows]
    part = TASK.recompute(result.per_sample, kept, config, embeddings)
    assert part == TASK.evaluate(embeddings(sorted(kept)), config).metrics
    whole = TASK.select(result.per_sample, np.arange(39), config, embeddings)
    np.testing.assert_array_equal(
        whole["a2v_rank"], TASK.evaluate(embeddings(given.ids[:39]), config).per_sample["a2v_rank"]
    )
    with pytest.raises(InputError, match="found no embeddings to rank 23 clips"):
        TASK.recompute(result.per_sample, kept, config)


def test_only_samples_that_were_judged_can_be_kept() -> None:
    result = TASK.evaluate(features(), RetrievalConfig())
    with pytest.raises(InputError, match="found 1 ids without outputs, such as nobody"):
        TASK.recompute(result.per_sample, ["clip001", "nobody"], RetrievalConfig())
    with pytest.raises(InputError, match="found no ids"):
        TASK.recompute(result.per_sample, [], RetrievalConfig())
    twice = {name: np.concatenate([values, values[:1]]) for name, values in result.per_sample.items()}
    with pytest.raises(InputError, match="each sample once"):
        TASK.recompute(twice, ["clip001"], RetrievalConfig())

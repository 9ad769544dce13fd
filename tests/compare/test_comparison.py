"""Runs compared from made records: samples in common, paired statistics, settings, warnings, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.cli import main
from avbench.compare import terminal
from avbench.compare.comparison import Comparison, compare
from avbench.compare.run import Run, find
from avbench.compare.text import render
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.files import write_json
from avbench.metrics import paired
from avbench.metrics.evidence import of_ranks
from avbench.metrics.hierarchical import holm
from avbench.store.extracted import unit_length
from avbench.store.features import Features
from avbench.store.records import SCHEMA, all_records, read_per_sample, read_record, stage_folder, write_record
from avbench.tasks import linear_probe, retrieval
from avbench.tasks.base import TaskResult
from avbench.tasks.labels import LabelPair, Labels

N = 60
IDS = [f"clip{i:03d}" for i in range(N)]
OPTIONS = retrieval.RetrievalConfig(resamples=20)


def write(results: Path, run_id: str, result: TaskResult, task: str, **changes: Any) -> dict[str, Any]:
    record = {
        "schema": SCHEMA,
        "id": run_id,
        "method": "cavmae",
        "task": task,
        "weights": "pretrained",
        "data": "clips",
        "data_sha256": hash_ids(result.per_sample["id"].tolist()),
        "split": "test",
        "seed": 0,
        "precision": "fp32",
        "config": {"method": {"name": "cavmae", "lambda_c": 0.01}, "task": {"name": task}, "seed": 0},
        "stages": {},
        "git": {"commit": "c0ffee" * 6},
        "code_sha256": "0" * 64,
        "created": "2026-01-01T00:00:00+00:00",
        **result.to_dict(),
        **changes,
    }
    write_record(results, record, result.per_sample)
    return record


def retrieved(results: Path, run_id: str, ids: list[str], noise: float, **changes: Any) -> TaskResult:
    """A run of retrieval whose embeddings lie in the results, as vectors that are not normalised."""
    place = np.array([IDS.index(name) for name in ids])
    audio, visual, other = np.random.default_rng(0).standard_normal((3, N, 1, 8)).astype(np.float32)
    audio, visual = 3 * audio[place], 2 * (audio + noise * visual + 0 * other)[place]
    result = retrieval.TASK.evaluate(Features(ids, unit_length(audio), unit_length(visual)), OPTIONS)
    folder = stage_folder(results, "vectors", f"v{run_id}")
    folder.mkdir(parents=True)
    order = np.arange(len(ids))[::-1]  # rows lie in another order than the run had them
    for name, values in (("audio", audio), ("visual", visual), ("joint", audio + visual)):
        np.save(folder / f"{name}.npy", values[order])
    write_json(folder / "ids.json", [ids[i] for i in order])
    write_json(folder / "done.json", {})
    write(results, run_id, result, "retrieval", stages={"vectors": [f"v{run_id}"]}, **changes)
    return result


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Runs aa and ab on the same clips, in another order; ac on 45 of them and one more method."""
    retrieved(tmp_path, "aa00", IDS, 1.0)
    retrieved(tmp_path, "ab00", IDS[::-1], 2.0, seed=1)
    retrieved(tmp_path, "ac00", IDS[15:], 1.0, method="cav")
    return tmp_path


def compared(results: Path, *names: str, **options: Any) -> Comparison:
    return compare([find(results, name) for name in names], **{"resamples": 100, **options})


def test_the_same_clips_are_compared_in_pairs_whatever_their_order(results: Path) -> None:
    found = compared(results, "aa", "ab")
    (pair,) = found.pairs
    assert found.warnings == []
    assert (pair.n, pair.ids_sha256, pair.left_out) == (N, hash_ids(IDS), [])
    one, other = (read_per_sample(results, name) for name in ("aa00", "ab00"))
    ranks = [{side: each[f"{side}_rank"][np.argsort(each["id"])] for side in ("a2v", "v2a")} for each in (one, other)]
    wanted = paired.compare(of_ranks(np.array(IDS), ranks[1]), of_ranks(np.array(IDS), ranks[0]), resamples=100)
    for name, row in pair.rows.items():
        assert row.first == read_record(results, "aa00")["metrics"][name]  # type: ignore[index]
        assert row.difference == row.second - row.first  # type: ignore[operator]
        assert row.paired == wanted[name]
    assert pair.rows["a2v/R@1"].difference < 0  # type: ignore[operator]


def test_p_values_are_corrected_for_all_metrics_shown_and_all_runs(results: Path) -> None:
    retrieved(results, "ad00", IDS, 3.0)
    found = compared(results, "aa", "ab", "ad")
    rows = [row for pair in found.pairs for name, row in pair.rows.items() if "mean_rank" not in name]
    raw = [row.paired.p for row in rows]  # type: ignore[union-attr]
    assert len(raw) == 2 * 8  # R@1, R@5, R@10 and the median rank, of two directions and two runs
    assert [row.p_holm for row in rows] == holm(raw)  # type: ignore[arg-type]
    assert all(row.p_holm is None for pair in found.pairs for name, row in pair.rows.items() if "mean_rank" in name)
    assert min(row.p_holm for row in rows) == pytest.approx(16 * min(raw))  # type: ignore[type-var, operator]
    assert found.to_dict()["comparisons"][0]["metrics"]["a2v/R@1"]["p_holm"] == rows[0].p_holm
    assert "p (Holm)" in render(found)


def test_other_clips_are_not_compared_in_pairs_and_said_so(results: Path) -> None:
    found = compared(results, "aa", "ac", "ab")
    assert [pair.n for pair in found.pairs] == [None, N]
    assert all(row.paired is None for row in found.pairs[0].rows.values())
    (warning,) = found.warnings
    assert "n = 60 and 45, 45 in common" in warning
    assert "avbench compare aa00 ac00 --common-ids" in warning
    assert "on other samples" in render(found)


def test_common_ids_rank_among_the_clips_in_common(results: Path) -> None:
    found = compared(results, "aa", "ab", "ac", common_ids=True)
    assert found.warnings == []
    assert {pair.n for pair in found.pairs} == {45}
    assert {pair.ids_sha256 for pair in found.pairs} == {hash_ids(IDS[15:])}
    same = found.pairs[1]  # the same embeddings, of fewer clips
    for row in same.rows.values():
        assert row.first == row.second
        assert row.paired is not None
        assert row.paired.p == 1
    alone = retrieved(results, "zz00", IDS[15:][::-1], 2.0)
    for name, row in found.pairs[0].rows.items():
        assert row.second == pytest.approx(alone.metrics[name], abs=1e-12)


def test_common_ids_of_equal_sets_are_the_records(results: Path) -> None:
    there, here = (compared(results, "aa", "ab", common_ids=common).to_dict() for common in (True, False))
    assert there == here


def test_embeddings_that_are_gone_are_named(results: Path) -> None:
    (results / "stages" / "vectors" / "vaa00" / "done.json").unlink()
    compared(results, "aa", "ab")
    with pytest.raises(InputError, match=r"run aa00: found no embeddings in .*vaa00 \(stage 'vectors'\).*45 of its 60"):
        compared(results, "aa", "ac", common_ids=True)


def test_no_clips_in_common(results: Path) -> None:
    retrieved(results, "ad00", IDS[:15], 1.0)
    with pytest.raises(InputError, match="no sample that all 2 runs judged"):
        compared(results, "ac", "ad", common_ids=True)
    assert "0 in common" in compared(results, "ac", "ad").warnings[0]


def test_other_data_content_and_options_are_said(results: Path) -> None:
    options = {"config": {"method": {"name": "cavmae"}, "task": {"name": "retrieval", "aggregation": "max"}}}
    retrieved(results, "ba00", IDS, 1.0, data="others")
    retrieved(results, "bb00", IDS, 1.0, data_sha256="f")
    retrieved(results, "bc00", IDS, 1.0, **options)
    told = [compared(results, "aa", name).warnings for name in ("ba", "bb", "bc")]
    assert "aa00 and ba00 are on other data sets (clips and others)" in told[0][0]
    assert "the same ids and of other content" in told[1][0]
    assert "task.aggregation: diagonal_mean and max" in told[2][0]
    assert [len(each) for each in told] == [1, 1, 1]
    config = {"method": {"name": "cavmae"}, "task": {"name": "retrieval", "bootstrap_seed": 3, "resamples": 7}}
    retrieved(results, "bd00", IDS, 1.0, config=config)
    assert compared(results, "aa", "bd").warnings == []


def test_settings_that_differ_are_listed(results: Path) -> None:
    config = {"method": {"name": "cavmae", "lambda_c": 0.5}, "task": {"name": "retrieval"}, "seed": 0, "presets": ["x"]}
    retrieved(results, "ba00", IDS, 1.0, config=config, code_sha256="1" * 64)
    found = compared(results, "aa", "ba")
    assert found.config == {
        "method.lambda_c": [0.01, 0.5],
        "presets": [None, ["x"]],
        "code": ["0" * 12, "1" * 12],
    }
    assert "method.lambda_c" in render(found)
    assert "no setting differs" in render(compared(results, "aa", "aa"))


def test_the_table_leaves_out_what_is_the_same(results: Path) -> None:
    text = render(compared(results, "aa", "ab"))
    order = [text.index(f"a2v/{name}") for name in ("R@1 ", "R@5 ", "R@10 ", "median_rank ")]
    assert order == sorted(order)
    assert "mean_rank" not in text  # as in the table of a run
    assert "the same in both: a2v/R@1 " in render(compared(results, "aa", "aa"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["aa", "zz"], "starts with 'zz'; valid: an id or its first digits"),
        (["a", "ab"], "run a: found 3 run ids that start with it (aa00, ab00, ac00), valid: one"),
        (["aa", ""], "no id of the 3 runs"),
        (["aa"], "found 1 run, valid: 2 or more"),
        ([], "found no runs, valid: 2 or more"),
        (["aa", "ab", "--resamples", "0"], "--resamples: found 0"),
        (["aa", "probe"], "found tasks retrieval and linear_probe, valid: the same"),
        (["aa", "newer"], "run newer: unknown key 'task.depth'"),
    ],
)
def test_bad_input_is_one_line(results: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    probed(results, "probe", 1.0)
    retrieved(results, "newer", IDS, 1.0, config={"method": {}, "task": {"name": "retrieval", "depth": 2}})
    told = told.replace("the 3 runs", "the 5 runs")
    assert main(["compare", *words, "--results", str(results)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err


def probed(results: Path, run_id: str, lift: float, ids: list[str] = IDS, **changes: Any) -> None:
    """A run of the linear probe with three classes."""
    codes = (np.array([IDS.index(name) for name in ids]) % 3).astype(np.int32)
    labels = Labels(("a", "b", "c"), np.arange(len(ids) + 1), codes)
    rng = np.random.default_rng(len(run_id))
    scores = (lift * np.eye(3)[codes] + rng.standard_normal((len(ids), 3))).astype(np.float32)
    options = linear_probe.LinearProbeConfig(resamples=10)
    result = linear_probe.result_of(ids, {"audio": scores}, LabelPair(labels, labels, single=True), options)
    write(results, run_id, result, "linear_probe", **changes)


def test_a_probe_on_fewer_clips_against_scores_of_its_own(tmp_path: Path) -> None:
    probed(tmp_path, "p1", 1.0)
    probed(tmp_path, "p22", 2.0, IDS[10:])
    (pair,) = compared(tmp_path, "p1", "p22", common_ids=True).pairs
    whole = read_per_sample(tmp_path, "p1")
    wanted = linear_probe.evidence({name: values[10:] for name, values in whole.items()}, "present").values
    assert {name: row.first for name, row in pair.rows.items()} == wanted
    assert {name: row.second for name, row in pair.rows.items()} == read_record(tmp_path, "p22")["metrics"]  # type: ignore[index]
    result = pair.rows["audio/mAP"].paired
    assert result is not None
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.difference < result.high
    assert 0 < pair.rows["audio/top1"].paired.p_flips <= 1  # type: ignore[union-attr, operator]


def test_what_is_not_kept_by_sample_is_named(tmp_path: Path) -> None:
    for run_id, ids in (("p1", IDS), ("p2", IDS[5:])):
        probed(tmp_path, run_id, 1.0, ids)
        outputs = read_per_sample(tmp_path, run_id)
        record = read_record(tmp_path, run_id)
        assert record is not None
        write_record(tmp_path, record, {key: v for key, v in outputs.items() if key != "audio/scores"})
    (pair,) = compared(tmp_path, "p1", "p2", common_ids=True).pairs
    assert pair.rows["audio/top1"].paired is not None
    assert set(pair.left_out) == {"audio/mAP", "audio/mAUC", "audio/d_prime"}
    assert "not known for these samples alone: audio/" in render(compared(tmp_path, "p1", "p2", common_ids=True))
    (same,) = compared(tmp_path, "p1", "p1").pairs
    assert same.rows["audio/mAP"].first is not None
    assert same.rows["audio/mAP"].paired is None


def test_tasks_that_keep_nothing_by_sample(tmp_path: Path) -> None:
    for run_id, ids in (("p1", IDS), ("p2", IDS[5:])):
        probed(tmp_path, run_id, 1.0, ids)
        record = read_record(tmp_path, run_id)
        assert record is not None
        write_record(tmp_path, record, {"id": np.array(ids)})
    with pytest.raises(InputError, match="task 'linear_probe' keeps nothing by sample here"):
        compared(tmp_path, "p1", "p2", common_ids=True)
    (pair,) = compared(tmp_path, "p1", "p1").pairs
    assert all(row.paired is None for row in pair.rows.values())


def test_the_table_of_runs_says_that_rows_are_of_other_clips(results: Path) -> None:
    records = {record["id"]: record for record in all_records(results)}
    text = terminal.render([records["aa00"], records["ac00"]])
    assert "Not all of these judge the same clips (n = 45: cav; n = 60: cavmae)" in text
    assert "n = 45 or 60 clips" in text
    assert "chance (n = 45)" in text
    assert "chance (n = 60)" in text
    assert "Not all" not in terminal.render([records["aa00"], records["ab00"]])


def test_a_run_in_words(results: Path) -> None:
    run = find(results, "ac00")
    assert isinstance(run, Run)
    assert run.name == "cav retrieval on clips, pretrained, seed 0"

"""Files that others made are recorded and stand in lists, tables and comparisons as runs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.cli import main
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.launch.cost import Costs
from avbench.report.page import gallery, groups
from avbench.report.records import Records
from avbench.running.request import Request, resolve
from avbench.store.records import all_records, read_per_sample, write_record
from avbench.tasks.retrieval import TASK


def features(path: Path, seed: int, n: int = 20, said: dict[str, Any] | None = None) -> Path:
    draw = np.random.default_rng(seed)
    audio = draw.normal(size=(n, 8)).astype(np.float32)
    visual = audio + draw.normal(size=(n, 8)).astype(np.float32)
    config = {"config": np.array(json.dumps(said))} if said else {}
    np.savez(path, id=np.array([f"clip{i}" for i in range(n)]), audio=audio, visual=visual, **config)
    return path


def evaluate(path: Path, results: Path, *words: str) -> int:
    return main(["evaluate", "--task", "retrieval", "--features", str(path), "--results", str(results), *words])


def test_a_file_is_recorded_once_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, results = features(tmp_path / "theirs.npz", 0), tmp_path / "results"
    assert evaluate(path, results, "--data", "mine", "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    (record,) = all_records(results)
    assert shown.keys() == {"task", "n", "ids_sha256", "metrics", "chance", "ci95", "config"}
    assert shown["config"]["task"]["version"] == TASK.version
    assert {key: shown[key] for key in ("n", "ids_sha256", "metrics", "chance", "ci95")} == {
        key: record[key] for key in ("n", "ids_sha256", "metrics", "chance", "ci95")
    }
    assert (record["method"], record["data"], record["weights"], record["n"]) == ("theirs", "mine", "given", 20)
    assert record["code_sha256"]
    assert read_per_sample(results, record["id"])["id"].tolist() == [f"clip{i}" for i in range(20)]
    before = record["created"], (results / "runs" / record["id"] / "record.json").stat().st_mtime_ns
    assert evaluate(path, results, "--data", "mine") == 0
    (again,) = all_records(results)
    assert (again["created"], (results / "runs" / again["id"] / "record.json").stat().st_mtime_ns) == before
    features(path, 1)  # other content in the same file is another row, not a second seed of the first
    assert evaluate(path, results, "--data", "mine") == 0
    assert evaluate(path, results, "--data", "mine", "--name", "other") == 0
    own = f"theirs-{sha256_file(path)[:6]}"
    assert sorted(each["method"] for each in all_records(results)) == sorted(["other", "theirs", own])
    rows = groups.board(Records(results).rows, results)
    assert {row.first.method: len(row.rows) for row in rows} == {"other": 1, "theirs": 1, own: 1}


@pytest.mark.parametrize("name", ["cavmae", " "])
def test_a_name_that_is_a_method_s_or_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = features(tmp_path / "theirs.npz", 0)
    assert evaluate(path, tmp_path / "results", "--name", name) == 2
    assert "valid: a name of its own" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_it_stands_in_every_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    for seed, name in enumerate(("one", "two")):
        assert evaluate(features(tmp_path / f"{name}.npz", seed), results, "--data", "mine") == 0
    one, two = sorted(all_records(results), key=lambda record: str(record["method"]))
    capsys.readouterr()
    assert main(["compare", one["id"], two["id"], "--results", str(results)]) == 0
    compared = capsys.readouterr().out
    assert "a2v/R@1" in compared
    assert main(["list", "runs", "--results", str(results)]) == 0
    assert "one" in capsys.readouterr().out
    assert main(["tables", "--data", "mine", "--format", "terminal", "--results", str(results)]) == 0
    table = capsys.readouterr().out
    assert "Judged as given" in table
    assert [line.split()[0] for line in table.splitlines() if line.startswith(("one", "two"))][:2] == ["one", "two"]
    assert main(["tables", "--cost", "--results", str(results)]) == 0
    assert main(["report", "--results", str(results)]) == 0
    assert main(["status", "--results", str(results)]) == 0
    assert "one" in (results / "report.html").read_text(encoding="utf-8")


def test_a_name_that_is_another_file_s_is_refused_and_replaced_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    one, two = (features(tmp_path / f"{seed}.npz", seed) for seed in range(2))
    assert evaluate(one, results, "--name", "theirs") == 0
    assert evaluate(features(tmp_path / "few.npz", 0, 12), results, "--name", "theirs") == 0  # other clips
    (first,) = (each for each in all_records(results) if each["n"] == 20)
    capsys.readouterr()
    assert evaluate(two, results, "--name", "theirs") == 2
    assert f"found another file recorded under it for these clips (run {first['id']})" in capsys.readouterr().err
    assert len(list(all_records(results))) == 2
    assert evaluate(one, results, "--name", "theirs", "--set", "task.aggregation=mean") == 0  # the same file
    assert evaluate(two, results, "--name", "theirs", "--force") == 0
    (left,) = (each for each in all_records(results) if each["n"] == 20)
    assert left["config"]["given"]["sha256"] == sha256_file(two)


def test_a_file_called_as_a_method_gets_a_name_of_its_own(tmp_path: Path) -> None:
    path = features(tmp_path / "cavmae.npz", 0)
    assert evaluate(path, tmp_path / "results") == 0
    (record,) = all_records(tmp_path / "results")
    assert record["method"] == f"cavmae-{sha256_file(path)[:6]}"


def test_seeds_of_one_model_are_one_row(tmp_path: Path) -> None:
    for seed in range(2):
        path = features(tmp_path / f"{seed}.npz", seed, said={"seed": seed, "data": {"source": "sets/mine"}})
        assert evaluate(path, tmp_path, "--name", "theirs") == 0
    (row,) = groups.board(Records(tmp_path).rows, tmp_path)
    assert [each.seed for each in row.rows] == [0, 1]
    assert row.first.data == "mine"


SAID: list[dict[str, Any]] = [
    {"data": 3, "seed": "x"},
    {"train": {"lr": float("nan")}},
    {"task": {"name": []}},
    {"train": {"batch_size": "x", "accumulate": 2}, "data": {"source": 3}, "model": {"patch_size": []}},
    {"method": {"name": [], "x": 1}, "data": {"clips_seed": "many"}},
    {"x": "\ud800"},
]


@pytest.mark.parametrize("said", SAID)
def test_what_a_file_says_of_itself_breaks_nothing(tmp_path: Path, said: dict[str, Any]) -> None:
    assert evaluate(features(tmp_path / "x.npz", 0, said=said), tmp_path) == 0
    (record,) = all_records(tmp_path)
    assert (record["method"], record["seed"], record["data"]) == ("x", 0, f"clips-{record['ids_sha256'][:8]}")
    for words in (["list", "runs"], ["tables"], ["report"], ["figures"], ["tables", "--cost"], ["status"]):
        assert main([*words, "--results", str(tmp_path)]) == 0, words
    assert not Records(tmp_path).broken


def test_common_clips_are_ranked_again_from_the_embeddings_that_were_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large, small = features(tmp_path / "large.npz", 0), tmp_path / "small.npz"
    with np.load(large) as arrays:
        np.savez(small, **{name: array[:12] for name, array in arrays.items()})
    assert evaluate(large, tmp_path) == 0
    assert evaluate(small, tmp_path) == 0
    large.unlink()
    found = {record["method"]: record for record in all_records(tmp_path)}
    words = [found["large"]["id"], found["small"]["id"], "--common-ids", "--json", str(tmp_path / "out.json")]
    assert main(["compare", *words, "--results", str(tmp_path)]) == 0
    assert "other content" not in capsys.readouterr().err
    (pair,) = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert pair["n"] == 12
    assert {key: row["first"] for key, row in pair["metrics"].items()} == found["small"]["metrics"]


def test_no_command_fills_the_row_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(features(tmp_path / "theirs.npz", 0), tmp_path, "--data", "soundshapes") == 0
    capsys.readouterr()
    assert main(["tables", "--missing", "--data", "soundshapes", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "--method vanilla_avmae" in printed
    assert "theirs" not in printed


def test_heat_maps_are_recorded_too(tmp_path: Path) -> None:
    boxes = [{"file": f"clip{i}_000001", "class": "dog", "bbox": [[0.0, 0.0, 0.8, 0.8]]} for i in range(2)]
    (tmp_path / "vggss.json").write_text(json.dumps(boxes))
    maps = np.random.default_rng(0).random((2, 14, 14), np.float32)
    np.savez(tmp_path / "maps.npz", id=["clip0_000001", "clip1_000001"], map=maps)
    words = ["--heatmaps", str(tmp_path / "maps.npz"), "--annotations", str(tmp_path / "vggss.json")]
    assert main(["evaluate", "--task", "localization", *words, "--data", "vggss", "--results", str(tmp_path)]) == 0
    (record,) = all_records(tmp_path)
    assert (record["method"], record["task"], record["data"], record["n"]) == ("maps", "localization", "vggss", 2)
    assert read_per_sample(tmp_path, record["id"])["id"].tolist() == ["clip0_000001", "clip1_000001"]
    assert main(["tables", "table_sync_localization", "--data", "vggss", "--results", str(tmp_path)]) == 0
    assert "\nmaps &" in (tmp_path / "tables" / "vggss" / "table_sync_localization.tex").read_text()


def test_settings_that_a_file_of_ours_names_are_recorded_and_cost_nothing(tmp_path: Path) -> None:
    config = resolve(Request(method="cavmae", sets=("data.source=/elsewhere/clips.v2", "method.lambda_c=0.5")))
    assert evaluate(features(tmp_path / "ours.npz", 0, said=config.to_dict()), tmp_path) == 0
    (record,) = all_records(tmp_path)
    assert (record["method"], record["data"], record["weights"]) == ("ours", "clips.v2", "given")
    assert record["config"]["method"] == {**config.to_dict()["method"], "name": "ours"}
    assert record["config"]["model"] == config.to_dict()["model"]
    assert Costs(tmp_path).task(config) is None  # its time is no evaluation's, with embeddings to compute


def test_data_are_named_as_runs_name_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = features(tmp_path / "theirs.npz", 0)
    for given in ("mine", "/elsewhere/mine", "elsewhere/mine.csv", "mine/manifest.json"):
        assert evaluate(path, tmp_path / "results", "--data", given) == 0
    (record,) = all_records(tmp_path / "results")
    assert record["data"] == "mine"
    assert evaluate(path, tmp_path / "other", "--data", "") == 2
    assert "--data: found ''" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_gallery_takes_its_clips_from_a_run_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate(features(tmp_path / "a.npz", 0), tmp_path, "--data", "mine") == 0
    (record,) = all_records(tmp_path)
    run = {**record, "id": "run", "method": "cavmae", "weights": "pretrained"}
    write_record(tmp_path, run, read_per_sample(tmp_path, record["id"]))
    asked = []

    def opened(record: dict[str, Any], results: Path) -> None:
        asked.append(record["method"])
        raise InputError("gone")

    monkeypatch.setattr(gallery, "open_judged", opened)
    gallery.galleries(groups.board(Records(tmp_path).rows, tmp_path), tmp_path)
    assert asked == ["cavmae"]

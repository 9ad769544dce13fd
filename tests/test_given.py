"""Files that others made are recorded and stand in lists, tables and comparisons as runs do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avbench import store
from avbench.cli import main


def features(path: Path, seed: int, n: int = 20) -> Path:
    draw = np.random.default_rng(seed)
    audio = draw.normal(size=(n, 8)).astype(np.float32)
    visual = audio + draw.normal(size=(n, 8)).astype(np.float32)
    np.savez(path, id=np.array([f"clip{i}" for i in range(n)]), audio=audio, visual=visual)
    return path


def evaluate(path: Path, results: Path, *words: str) -> int:
    return main(["evaluate", "--task", "retrieval", "--features", str(path), "--results", str(results), *words])


def test_a_file_is_recorded_once_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, results = features(tmp_path / "theirs.npz", 0), tmp_path / "results"
    assert evaluate(path, results, "--data", "mine", "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    (record,) = store.records(results)
    assert {key: shown[key] for key in ("n", "ids_sha256", "metrics", "chance", "ci95")} == {
        key: record[key] for key in ("n", "ids_sha256", "metrics", "chance", "ci95")
    }
    assert (record["method"], record["data"], record["weights"], record["n"]) == ("theirs", "mine", "given", 20)
    assert record["code_sha256"]
    assert store.read_per_sample(results, record["id"])["id"].tolist() == [f"clip{i}" for i in range(20)]
    before = record["created"], (results / "runs" / record["id"] / "record.json").stat().st_mtime_ns
    assert evaluate(path, results, "--data", "mine") == 0
    (again,) = store.records(results)
    assert (again["created"], (results / "runs" / again["id"] / "record.json").stat().st_mtime_ns) == before
    features(path, 1)  # other content under the same name is another record
    assert evaluate(path, results, "--data", "mine") == 0
    assert evaluate(path, results, "--data", "mine", "--name", "other") == 0
    assert sorted(each["method"] for each in store.records(results)) == ["other", "theirs", "theirs"]


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
    one, two = sorted(store.records(results), key=lambda record: str(record["method"]))
    capsys.readouterr()
    assert main(["compare", one["id"], two["id"], "--results", str(results)]) == 0
    compared = capsys.readouterr().out
    assert "a2v/R@1" in compared
    assert main(["list", "runs", "--results", str(results)]) == 0
    assert "one" in capsys.readouterr().out
    assert main(["tables", "--data", "mine", "--format", "terminal", "--results", str(results)]) == 0
    table = capsys.readouterr().out
    assert "Judged from files" in table
    assert [line.split()[0] for line in table.splitlines() if line.startswith(("one", "two"))][:2] == ["one", "two"]
    assert main(["tables", "--cost", "--results", str(results)]) == 0
    assert main(["report", "--results", str(results)]) == 0
    assert main(["status", "--results", str(results)]) == 0
    assert "one" in (results / "report.html").read_text(encoding="utf-8")

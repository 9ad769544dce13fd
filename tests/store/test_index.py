"""All records as rows: read once, and again when they or what they were read with change."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import table_records

from avbench.store import index
from avbench.store.reader import Reader
from avbench.store.rows import Row


@pytest.fixture(autouse=True)
def index_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one record gets an index."""
    monkeypatch.setattr(index, "FEW", 0)


def ids(results: Path) -> set[str]:
    return {row.id for row in index.read(results).rows}


def parsed(results: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the records that are opened when the results are read."""
    opened: list[str] = []
    own = Reader.read
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "read", lambda self, name, stamp: [opened.append(name), own(self, name, stamp)][1])
        index.read(results)
    return opened


def values(row: Row) -> list[Any]:
    config = row.config
    names = ("id", "folder", "method", "seed", "n", "schema", "created", "metrics", "chance", "ci95", "spent", "about")
    return [*(getattr(row, name) for name in names), config.settings, config.past, row.pretraining]


def training(results: Path, stage: str, source: str = "", **key: Any) -> Path:
    """Writes what a pretraining leaves, and returns its weights' path."""
    folder = results / "stages" / "pretrain" / stage
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"options": {}, "train": {"epochs": 3, "batch_size": 8}, "init": {"sha256": "0"}, **key}
    (folder / "done.json").write_text(json.dumps({"key": whole, "init": {"source": source}}))
    return folder / "weights.safetensors"


def test_records_are_read_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    table_records.retrieval(tmp_path, "b", "cav", 3.0, seed=1)
    first = index.read(tmp_path).rows
    assert len({id(row.config) for row in first}) == 1  # seeds share their settings
    assert parsed(tmp_path, monkeypatch) == []
    table_records.retrieval(tmp_path, "b", "cavmae", 3.0, seed=1)
    table_records.retrieval(tmp_path, "c", "cav", 3.0, seed=2)
    assert parsed(tmp_path, monkeypatch) == ["b", "c"]
    assert [(row.id, row.method) for row in index.read(tmp_path).rows] == [("a", "cav"), ("b", "cavmae"), ("c", "cav")]
    (tmp_path / "runs" / "a" / "record.json").unlink()
    assert ids(tmp_path) == {"b", "c"}
    assert len(pq.read_table(tmp_path / index.INDEX)) == 2


def test_a_row_is_the_same_from_the_record_and_from_the_index(tmp_path: Path) -> None:
    about = {"wall_s": {"evaluate": 1.5}, "device_hours": 0.1, "git": {"commit": "c"}, "hardware": {"cores": 2}}
    metrics = {"metrics": {"a": 0.1, "b": 1 / 3}, "chance": {"b": 0.5}, "ci95": {"a": [0.05, 0.2]}, **about}
    table_records.retrieval(tmp_path, "a", "cav", 2.0, **metrics, stages={"pretrain": ["f1"]})
    table_records.retrieval(tmp_path, "b", "cav", 2.0, seed=1, metrics={})
    read, kept = (index.read(tmp_path).rows for _ in range(2))
    assert [values(row) for row in read] == [values(row) for row in kept]
    assert kept[0].metrics == metrics["metrics"]
    assert (kept[0].chance, kept[0].ci95) == ({"b": 0.5}, {"a": (0.05, 0.2)})
    assert kept[0].spent == {"wall_s": {"evaluate": 1.5}, "device_hours": 0.1, "stages": {"pretrain": ["f1"]}}
    assert (kept[0].about["hardware"], kept[0].pretraining) == ({"cores": 2}, "f1")
    assert kept[1].metrics == {}


def test_a_row_is_read_again_when_a_stage_it_was_read_with_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = training(tmp_path, "f1")
    settings = {"checkpoint": str(training(tmp_path, "f2", source=str(weights)))}
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, weights="checkpoint", settings=settings)
    table_records.retrieval(tmp_path, "b", "cav", 2.0, stages={"vectors": ["v1"]})
    rows = {row.id: row for row in index.read(tmp_path).rows}
    assert [each["train"]["epochs"] for each in rows["a"].config.past] == [3, 3]
    assert rows["a"].checkpoint == settings["checkpoint"]
    assert rows["b"].pretraining == ""
    assert parsed(tmp_path, monkeypatch) == []
    training(tmp_path, "f1", train={"epochs": 77, "batch_size": 8})  # the training before the last
    assert parsed(tmp_path, monkeypatch) == ["a"]
    (row, _) = index.read(tmp_path).rows
    assert [each["train"]["epochs"] for each in row.config.past] == [3, 77]
    vectors = tmp_path / "stages" / "vectors" / "v1"
    vectors.mkdir(parents=True)
    (vectors / "done.json").write_text(json.dumps({"key": {"weights": {"pretrain": "f9"}}}))
    (_, row) = index.read(tmp_path).rows
    assert row.pretraining == "f9"
    weights.with_name("done.json").unlink()
    (row, _) = index.read(tmp_path).rows
    assert row.config.past[1] == {}


def test_seeds_of_weights_that_were_trained_here_share_their_settings(tmp_path: Path) -> None:
    for seed in range(2):
        settings = {"checkpoint": str(training(tmp_path, f"f{seed}"))}
        table_records.retrieval(tmp_path, f"{seed}", "cavmae", 2.0, seed, weights="checkpoint", settings=settings)
    for _ in range(2):
        first, second = index.read(tmp_path).rows
        assert first.config is second.config
        assert first.checkpoint != second.checkpoint


def test_trainings_that_name_each_other_end(tmp_path: Path) -> None:
    first = training(tmp_path, "f1", source=str(tmp_path / "stages/pretrain/f2/weights.safetensors"))
    training(tmp_path, "f2", source=str(first))
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, weights="checkpoint", settings={"checkpoint": str(first)})
    (row,) = index.read(tmp_path).rows
    assert len(row.config.past) == 2


def test_several_processes_read_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(9):
        table_records.retrieval(tmp_path, f"{seed}", "cav" if seed % 2 else "cavmae", 2.0, seed=seed)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    one = index.read(tmp_path)
    (tmp_path / index.INDEX).unlink()
    monkeypatch.setattr(index, "MANY", 2)
    monkeypatch.setattr("avbench.processes.core_count", lambda: 3)
    other = index.read(tmp_path)
    assert [values(row) for row in other.rows] == [values(row) for row in one.rows]
    assert len({id(row.config) for row in other.rows}) == 2
    assert other.broken == one.broken


def damaged_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def of_another_version(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({"version": "0"}), path)


def of_other_columns(path: Path) -> None:
    pq.write_table(pa.table({"folder": ["a"]}), path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_text("{}"),
        damaged_bit,
        of_another_version,
        of_other_columns,
        Path.unlink,
    ],
)
def test_a_lost_or_damaged_index_costs_nothing(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        table_records.retrieval(tmp_path, name, "cav", 2.0, seed=ord(name))
    whole = [values(row) for row in index.read(tmp_path).rows]
    damage(tmp_path / index.INDEX)
    assert [values(row) for row in index.read(tmp_path).rows] == whole
    assert parsed(tmp_path, monkeypatch) == []  # it was written anew


def test_results_that_cannot_be_written_are_read(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    (tmp_path / ".cache").write_text("in the way, whoever asks")
    assert ids(tmp_path) == ids(tmp_path) == {"a"}


def test_few_records_need_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FEW", 1)
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    assert ids(tmp_path) == {"a"}
    assert not (tmp_path / index.INDEX).exists()


def test_records_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    whole = json.loads((tmp_path / "runs" / "a" / "record.json").read_text())
    del whole["seal"]
    wrong = [{"seed": "0"}, {"seed": 2**70}, {"metrics": {"x": "high"}}, {"metrics": []}, {"config": None}, {"n": True}]
    texts = ["{", "{}", "[]", *(json.dumps({**whole, **each}) for each in wrong)]
    for name, text in enumerate(texts):
        (tmp_path / "runs" / f"b{name}").mkdir()
        (tmp_path / "runs" / f"b{name}" / "record.json").write_text(text)
    (tmp_path / "runs" / ".e.tmp").mkdir()
    found = index.read(tmp_path)
    assert {row.id for row in found.rows} == {"a"}
    assert [Path(path).parent.name for path in found.broken] == [f"b{i}" for i in range(len(texts))]


def test_no_results_are_no_records(tmp_path: Path) -> None:
    assert index.read(tmp_path / "none").rows == []


def test_records_of_before_are_read_and_said_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0, schema=2)
    table_records.retrieval(tmp_path, "b", "cav", 3.0, seed=1)
    for _ in range(2):  # from the files, and from the index
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert ids(tmp_path) == {"a", "b"}
        (said,) = [each.getMessage() for each in caplog.records]
        assert said.startswith(f"{tmp_path / 'runs'}: 1 record is of an older schema than 3")


def test_the_long_table_has_one_row_for_each_run_and_metric(tmp_path: Path) -> None:
    facts = {"metrics": {"a2v/R@1": 0.25, "x": 3.0}, "ci95": {"a2v/R@1": [0.1, 0.4]}, "chance": {"a2v/R@1": 0.01}}
    for run_id in ("a1", "a2"):
        table_records.retrieval(tmp_path, run_id, "cav", 2.0, **facts, git={"commit": "c0ffee"})
    table = index.load_table(tmp_path)
    assert len(table) == 4
    row = table[(table["id"] == "a1") & (table["metric"] == "a2v/R@1")].iloc[0]
    assert (row["value"], row["low"], row["high"], row["chance"], row["commit"]) == (0.25, 0.1, 0.4, 0.01, "c0ffee")
    assert pd.isna(table[table["metric"] == "x"].iloc[0]["low"])


def test_an_empty_folder_gives_an_empty_table_with_its_columns(tmp_path: Path) -> None:
    table = index.load_table(tmp_path)
    assert len(table) == 0
    assert {"method", "metric", "value"} <= set(table.columns)

from __future__ import annotations

import json
from pathlib import Path

import pytest
import table_records

from avbench.report import archive
from avbench.report.archive import Archive


def ids(found: Archive) -> set[str]:
    return {row.id for row in found.rows}


def test_records_are_read_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    table_records.retrieval(tmp_path, "b", "cav", 3.0, seed=1)
    first = Archive(tmp_path)
    assert ids(first) == {"a", "b"}
    assert len({id(row.config) for row in first.rows}) == 1  # seeds share their settings
    read: list[str] = []
    monkeypatch.setattr(archive, "_read", lambda results, listed: read.extend(name for name, _ in listed))
    assert ids(Archive(tmp_path)) == {"a", "b"}
    assert read == []
    monkeypatch.undo()
    table_records.retrieval(tmp_path, "b", "cavmae", 3.0, seed=1)
    table_records.retrieval(tmp_path, "c", "cav", 3.0, seed=2)
    again = Archive(tmp_path)
    assert ids(again) == {"a", "b", "c"}
    assert {row.id for config, rows in again.of("cavmae", "retrieval", "soundshapes") for row in rows} == {"b"}


def test_several_processes_read_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(9):
        table_records.retrieval(tmp_path, f"{seed}", "cav" if seed % 2 else "cavmae", 2.0, seed=seed)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    one = Archive(tmp_path)
    (tmp_path / archive.INDEX).unlink()
    monkeypatch.setattr(archive, "FEW", 2)
    monkeypatch.setattr("avbench.processes.core_count", lambda: 3)
    other = Archive(tmp_path)
    assert [(row.id, row.metrics, row.config.facts) for row in other.rows] == [
        (row.id, row.metrics, row.config.facts) for row in one.rows
    ]
    assert len({id(row.config) for row in other.rows}) == 2
    assert other.broken == one.broken


def test_a_lost_or_damaged_index_costs_nothing(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    Archive(tmp_path)
    for text in ("", "{}", "[]", '{"version": -1, "configs": [], "records": {}}'):
        (tmp_path / archive.INDEX).write_text(text)
        assert ids(Archive(tmp_path)) == {"a"}
    (tmp_path / archive.INDEX).unlink()
    assert ids(Archive(tmp_path)) == {"a"}


def test_records_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    for name, text in (("b", "{"), ("c", "{}"), ("d", "[]")):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "record.json").write_text(text)
    (tmp_path / "runs" / ".e.tmp").mkdir()
    found = Archive(tmp_path)
    assert ids(found) == {"a"}
    assert [Path(path).parent.name for path in found.broken] == ["b", "c", "d"]


def test_no_results_are_no_records(tmp_path: Path) -> None:
    assert Archive(tmp_path / "none").rows == []


def test_a_checkpoint_of_our_own_tells_its_pretraining(tmp_path: Path) -> None:
    folder = tmp_path / "stages" / "pretrain" / "f00d"
    folder.mkdir(parents=True)
    key = {
        "options": {"lambda_c": 0.5},
        "train": {"epochs": 3, "batch_size": 8},
        "init": {"timm": "vit", "sha256": "0"},
    }
    (folder / "done.json").write_text(json.dumps({"key": key}))
    settings = {"checkpoint": str(folder / "weights.safetensors")}
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, weights="checkpoint", settings=settings)
    facts = Archive(tmp_path).rows[0].config.facts
    assert (facts["method.lambda_c"], facts["train.init"], facts["checkpoint"]) == (0.5, "timm:vit", "")


@pytest.mark.parametrize(
    ("source", "init"),
    [
        ("", "none"),
        ("imagenet-mae", "imagenet-mae"),
        ("/somewhere/ori_mae_11.pth", "imagenet-mae"),
        ("timm:vit_base_patch16_224.mae", "imagenet-mae-encoder"),
        ("mine.pth", "mine.pth"),
    ],
)
def test_initial_weights_have_one_name_however_they_were_given(tmp_path: Path, source: str, init: str) -> None:
    settings = {"train.init": source, "train.batch_size": 48, "train.accumulate": 4}
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, settings=settings)
    facts = Archive(tmp_path).rows[0].config.facts
    assert facts["train.init"] == init


def test_a_training_after_another_started_where_the_first_did(tmp_path: Path) -> None:
    for stage, source in (("f1", "imagenet-mae"), ("f2", str(tmp_path / "stages/pretrain/f1/weights.safetensors"))):
        folder = tmp_path / "stages" / "pretrain" / stage
        folder.mkdir(parents=True)
        key = {"options": {}, "train": {"epochs": 3, "batch_size": 108, "accumulate": 4}, "init": {"sha256": "0"}}
        (folder / "done.json").write_text(json.dumps({"key": key, "init": {"source": source}}))
    settings = {"checkpoint": str(tmp_path / "stages/pretrain/f2/weights.safetensors")}
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, weights="checkpoint", settings=settings)
    facts = Archive(tmp_path).rows[0].config.facts
    assert (facts["train.init"], facts["train.accumulate"]) == ("imagenet-mae", 4)
    assert (facts["earlier trainings"], facts["before: train.epochs"]) == (1, 3)


def test_records_of_before_are_read_and_said_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0, schema=2)
    table_records.retrieval(tmp_path, "b", "cav", 3.0, seed=1)
    for _ in range(2):  # from the files, and from the index
        caplog.clear()
        assert ids(Archive(tmp_path)) == {"a", "b"}
        (said,) = [each.getMessage() for each in caplog.records]
        assert said.startswith(f"{tmp_path / 'runs'}: 1 record is of an older schema than 3")

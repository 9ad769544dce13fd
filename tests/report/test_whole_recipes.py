"""A record stands for a published row when its whole recipe is the row's; else the table says what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_records

from avbench.report.tables.table import TableRow
from avbench.report.tables.tables_of import tables_of
from avbench.running.request import Request, resolve
from avbench.settings import to_dict
from avbench.store.records import write_record


def notes(results: Path, changes: tuple[str, ...] = (), **record: Any) -> tuple[bool, str]:
    """Whether Table 1's CAV-MAE cell on AudioSet-20K is marked, and the notes, of one record with whole settings."""
    presets, sets = ("finetune-audioset20k-av",), changes
    asked = Request(method="cavmae", task="classification", data=".", recipe="cavmae/base", presets=presets, sets=sets)
    config = resolve(asked).to_dict()
    config["data"]["source"] = "audioset-20k"
    config["checkpoint"] = record.pop("checkpoint", None)
    written = {"data": "audioset-20k", "weights": "checkpoint", "config": config, "n": 17249, **record}
    metrics = {"joint/mAP": 0.4}
    made = table_records.record("a", "cavmae", "classification", metrics=metrics, **written)
    write_record(results, made, {"id": np.array(["x"])})
    (table,) = tables_of(results, ["table_01"])
    row = next(row for row in table.rows if isinstance(row, TableRow) and row.stub[0] == "CAV-MAE")
    assert row.cells[2].mean == pytest.approx(40.0)
    return "other_settings" in row.cells[2].marks, " ".join(table.notes)


def test_a_record_of_the_whole_recipe_stands_for_the_row(tmp_path: Path) -> None:
    marked, told = notes(tmp_path)
    assert not marked, told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.lr=1e-3", "train.lr 0.001 (5e-05)"),
        ("train.optimizer=adamw", "train.optimizer adamw (adam)"),
        ("model.embed_dim=384", "model.embed_dim 384 (768)"),
        ("input.target_length=512", "input.target_length 512 (1024)"),
        ("method.temperature=0.1", "method.temperature 0.1 (0.05)"),
        ("task.epochs=1", "task.epochs 1 (15)"),
        ("data.n_frames=4", "data.n_frames 4 (10)"),
    ],
)
def test_any_other_field_is_told(tmp_path: Path, change: str, told: str) -> None:
    marked, text = notes(tmp_path, (change,))
    assert marked
    assert told in text


def test_what_changes_no_number_is_not_told(tmp_path: Path) -> None:
    marked, _ = notes(tmp_path, ("train.workers=0", "train.log_every=1", "task.resamples=0", "task.missing=false"))
    assert not marked


def test_a_run_that_pretrains_on_the_judged_data_is_told(tmp_path: Path) -> None:
    marked, text = notes(tmp_path, weights="pretrained")
    assert marked
    assert "pretraining data audioset-20k (audioset-2m)" in text


@pytest.mark.parametrize(
    ("earlier", "told"),
    [
        ([{}], ""),
        ([{"train": {"lr": 1e-3}}], "train.lr 0.001 (5e-05)"),
        ([{"input": {"target_length": 512}}], "pretraining input.target_length 512 (1024)"),
        ([{}, {}], "earlier trainings 1 (0)"),
    ],
)
def test_a_checkpoint_of_ours_is_compared_by_its_trainings(
    tmp_path: Path, earlier: list[dict[str, Any]], told: str
) -> None:
    config = resolve(Request(method="cavmae", task="", recipe="cavmae/base"))
    source, path = "imagenet-mae", tmp_path
    for i, changes in enumerate(earlier):
        key = {
            "options": to_dict(config.method, identity_only=True),
            "train": {**to_dict(config.train, identity_only=True), **changes.get("train", {})},
            "input": {**to_dict(config.input), **changes.get("input", {})},
            "init": {"sha256": "0"},
        }
        path = tmp_path / "stages" / "pretrain" / f"f{i}"
        path.mkdir(parents=True)
        (path / "done.json").write_text(json.dumps({"key": key, "init": {"source": source}}))
        source = str(path / "weights.safetensors")
    marked, text = notes(tmp_path, checkpoint=source)
    assert marked == bool(told), text
    assert told in text

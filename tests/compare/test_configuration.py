"""Same configuration, other seeds: what records share, and how they are put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import table_records

from avbench.compare.configuration import clips, facts, group
from avbench.store import index


def only(results: Path) -> Mapping[str, Any]:
    (row,) = index.read(results).rows
    return facts(row.config)


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
    found = only(tmp_path)
    assert (found["method.lambda_c"], found["train.init"], found["checkpoint"]) == (0.5, "timm:vit", "")


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
    assert only(tmp_path)["train.init"] == init


def test_a_training_after_another_started_where_the_first_did(tmp_path: Path) -> None:
    for stage, source in (("f1", "imagenet-mae"), ("f2", str(tmp_path / "stages/pretrain/f1/weights.safetensors"))):
        folder = tmp_path / "stages" / "pretrain" / stage
        folder.mkdir(parents=True)
        key = {"options": {}, "train": {"epochs": 3, "batch_size": 108, "accumulate": 4}, "init": {"sha256": "0"}}
        (folder / "done.json").write_text(json.dumps({"key": key, "init": {"source": source}}))
    settings = {"checkpoint": str(tmp_path / "stages/pretrain/f2/weights.safetensors")}
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, weights="checkpoint", settings=settings)
    found = only(tmp_path)
    assert (found["train.init"], found["train.accumulate"]) == ("imagenet-mae", 4)
    assert (found["earlier trainings"], found["before: train.epochs"]) == (1, 3)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("other", [{"clips": "others"}, {"method": "avmae"}])
def test_weights_of_another_method_or_other_clips_are_no_seed(
    tmp_path: Path, other: dict[str, str], *, before: bool
) -> None:
    for seed, changes in enumerate(({}, {}, other)):
        weights = ""
        for depth in range(2 if before else 1):  # the first of two trainings differs, or the only one
            folder = tmp_path / "stages" / "pretrain" / f"f{seed}{depth}"
            folder.mkdir(parents=True)
            key = {"method": "cavmae", "clips": "own", "options": {}, "train": {}, **({} if depth else changes)}
            (folder / "done.json").write_text(json.dumps({"key": key, "init": {"source": weights}}))
            weights = str(folder / "weights.safetensors")
        settings = {"checkpoint": weights}
        table_records.retrieval(tmp_path, f"r{seed}", "cavmae", 2.0, seed, weights="checkpoint", settings=settings)
    found = group(index.read(tmp_path).rows)
    assert sorted([row.id for row in each.rows] for each in found) == [["r0", "r1"], ["r2"]]


def test_seeds_are_together_and_what_changes_no_number_does_not_part_them(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0, seed=1)
    table_records.retrieval(tmp_path, "b", "cav", 2.0, settings={"train.workers": 4, "task.resamples": 50})
    table_records.retrieval(tmp_path, "c", "cav", 2.0, settings={"method.lambda_c": 1.0})
    found = group(index.read(tmp_path).rows)
    assert [[row.id for row in each.rows] for each in found] == [["b", "a"], ["c"]]
    assert found[0].first.seed == 0


def test_the_newest_of_a_seed_counts_and_the_older_are_kept_beside(tmp_path: Path) -> None:
    for name, created in (("a", "2026-01-02"), ("b", "2026-01-03"), ("c", "2026-01-01")):
        table_records.retrieval(tmp_path, name, "cav", 2.0, created=created, settings={"train.workers": ord(name)})
    (found,) = group(index.read(tmp_path).rows)
    assert [row.id for row in found.rows] == ["b"]
    assert [row.id for row in found.older] == ["a", "c"]


@pytest.mark.parametrize("other", [{"ids_sha256": "less"}, {"data_sha256": "decoded anew"}])
def test_seeds_on_other_clips_are_no_seeds_of_one_configuration(tmp_path: Path, other: dict[str, str]) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    table_records.retrieval(tmp_path, "b", "cav", 2.0, seed=1, **other)
    assert [[row.id for row in each.rows] for each in group(index.read(tmp_path).rows)] == [["a"], ["b"]]


def test_configurations_compare_on_the_same_clips_however_these_were_prepared(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "a", "cav", 2.0)
    table_records.retrieval(tmp_path, "b", "cavmae", 2.0, data_sha256="larger pictures")
    table_records.retrieval(tmp_path, "c", "cav", 2.0, settings={"data.clips_seed": 1})
    table_records.retrieval(tmp_path, "d", "cav", 2.0, data="vggsound", settings={"data.clips_seed": 1})
    table_records.retrieval(tmp_path, "e", "cav", 2.0, data="soundshapes-2")
    a, b, c, d, e = map(clips, index.read(tmp_path).rows)
    assert a == b == d  # only generated clips depend on a seed and a version
    assert len({a, c, e}) == 3


def test_records_older_than_a_setting_did_what_its_default_does(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "old", "cavmae", 2.0, seed=0)
    table_records.retrieval(tmp_path, "new", "cavmae", 2.0, seed=1, settings={"data.corruption": ""})
    table_records.retrieval(tmp_path, "other", "cavmae", 2.0, seed=2, settings={"data.corruption": "blur@1"})
    assert [len(each.rows) for each in group(index.read(tmp_path).rows)] == [2, 1]

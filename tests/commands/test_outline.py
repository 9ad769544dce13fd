"""A dry run as data: settings, stages and the clips a contrast, of every preset of the paper's scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avbench.cli import main
from avbench.report.tables import published

TABLE_4 = {"pretrain-audioset-scale+": "pretrain_scale", "pretrain-audioset-base": "pretrain_others"}
SMALL = ("data.train_clips=64", "data.test_clips=8", "train.steps=3", "train.workers=0")


@pytest.fixture(autouse=True)
def an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))


def planned(capsys: pytest.CaptureFixture[str], results: Path, *words: str) -> dict[str, Any]:
    """What a dry run prints: nothing else may be on standard output."""
    capsys.readouterr()
    assert main(["run", *words, "--results", str(results), "--dry-run", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert not results.exists()
    outline: dict[str, Any] = found
    return outline


def stated(setting: str, name: str) -> str:
    number = published.find(published.SETTINGS, "4", hyperparameter=name, setting=setting)
    assert number is not None
    return number.text


@pytest.mark.parametrize(
    ("preset", "method", "batch", "clips"),
    [
        ("pretrain-audioset-base", "cavmae", 48, 12),
        ("pretrain-audioset-base", "cav", 48, 12),
        ("pretrain-audioset-scale+", "cavmae", 108, 27),
        ("pretrain-audioset-scale++", "cavmae", 256, 64),
        ("pretrain-vggsound-from-imagenet", "cavmae", 120, 30),
        ("pretrain-vggsound-from-audioset", "cavmae", 120, 30),
        ("pretrain-audioset-sync", "cavmae_sync", 512, 128),
    ],
)
def test_presets_of_the_papers_scale_contrast_what_each_of_four_gpus_did(
    preset: str, method: str, batch: int, clips: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned(capsys, tmp_path / "results", "--method", method, "--preset", preset)
    train = found["config"]["train"]
    assert (train["batch_size"], train["accumulate"]) == (batch, 4)
    assert (found["clips_per_contrast"], found["negatives"]) == (clips, clips - 1)
    assert train["init"] == ("cavmae-scale++" if preset == "pretrain-vggsound-from-audioset" else "imagenet-mae")
    assert [stage["name"] for stage in found["stages"]] == ["prepare", "pretrain"]
    assert {stage["state"] for stage in found["stages"]} == {"to do"}
    if preset in TABLE_4:
        setting = TABLE_4[preset]
        assert stated(setting, "Batch size") == f"4x{clips}"
        assert float(stated(setting, "Backbone learning rate")) == train["lr"]
        assert int(stated(setting, "LR decay start epoch")) == train["decay_start"]
        assert float(stated(setting, "LR decay rate")) == train["decay_rate"]
        assert int(stated(setting, "LR decay step")) == train["decay_every"]
        assert stated(setting, "Optimizer") == "Adam, weight decay=5e-7, betas=(0.95, 0.999)"
        assert (train["optimizer"], train["weight_decay"], train["betas"]) == ("adam", 5e-7, [0.95, 0.999])
        assert (train["steps"], train["warmup"], train["clip_norm"], train["schedule"]) == (0, 0.0, 0.0, "step")
        assert found["config"]["method"]["masking_ratio"] == 0.75


def test_another_batch_keeps_the_four_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--method", "cavmae", "--preset", "pretrain-audioset-base", "--set")
    assert planned(capsys, tmp_path / "results", *words, "train.batch_size=108")["clips_per_contrast"] == 27
    assert main(["run", *words, "train.batch_size=50", "--dry-run"]) == 2
    assert "valid: a divisor of train.batch_size=50" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "settings", "clips"),
    [("cavmae", (), 64), ("avmae", (), None), ("cavmae", ("method.lambda_c=0",), None), ("cav", (), 64)],
)
def test_small_presets_contrast_their_whole_batch(
    method: str, settings: tuple[str, ...], clips: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--set", *settings) if settings else ()
    found = planned(capsys, tmp_path / "results", "--method", method, *words)
    assert found["clips_per_contrast"] == clips
    assert found["config"]["train"]["accumulate"] == 1


def test_stages_have_ids_once_the_clips_are_there_and_weights_that_are_not_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", "--method", "cavmae", "--set", *SMALL, "--results", str(tmp_path / "made")]) == 0
    words = ("--method", "cavmae", "--set", *SMALL)
    found = planned(capsys, tmp_path / "results", *words)
    assert [(stage["name"], stage["state"]) for stage in found["stages"]] == [
        ("pretrain", "to do"),
        ("vectors", "to do"),
        ("evaluate", "to do"),
    ]
    assert all(stage["id"] for stage in found["stages"])
    assert main(["run", *words, "--dry-run", "--results", str(tmp_path / "made")]) == 0
    assert "64 clips a contrast, done, reused\n" in capsys.readouterr().out
    missing = planned(capsys, tmp_path / "results", *words, "train.init=imagenet-mae")
    assert [stage["id"] for stage in missing["stages"]] == [None]
    assert "found no mae_pretrain_vit_base_full.pth or ori_mae_11.pth" in missing["note"]
    assert main(["run", *words, "train.init=imagenet-mae", "--results", str(tmp_path / "results")]) == 2
    assert not (tmp_path / "results").exists()


def test_the_cost_says_what_it_leaves_out_and_counts_what_is_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--method", "cavmae", "--set", *SMALL, "--results", str(tmp_path / "made"))

    def cost(*more: str) -> str:
        capsys.readouterr()
        assert main(["pretrain", *words, "--dry-run", *more]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert cost() == "cost: unknown for 1 run whose clips or initial weights are not there yet"
    assert main(["pretrain", *words]) == 0
    assert cost() == "cost: nothing to compute"
    assert "(1 pretrainings" in cost("--force")

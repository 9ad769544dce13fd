"""The adapters beside PE-AV: two models of one modality as one encoder, and ImageBind where its package is not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from avbench import cli


def test_two_models_of_one_modality_are_probed(
    videos: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra 'encoders' is not installed")
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            **sizes, conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 4), num_conv_pos_embeddings=4
        )
    ).save_pretrained("sound")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained("sound")
    models = ["encoder.sound_model=sound", "encoder.picture_model=test_vit", "encoder.pretrained=false"]
    words = ["--encoder", "pair", "--data", str(videos), "--task", "linear_probe"]
    assert cli.main(["run", *words, "--set", *models, "train.workers=0"]) == 0
    (path,) = Path("results/runs").glob("*/record.json")
    record = json.loads(path.read_text())
    assert {"audio/top1", "visual/top1", "joint/top1"} <= record["metrics"].keys()
    assert record["config"]["encoder"]["image"] == [160, 160]


def test_a_package_that_is_not_there_is_named_with_the_fix(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    if importlib.util.find_spec("imagebind") is not None:
        pytest.skip("imagebind is installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    assert cli.main(["run", "--encoder", "imagebind", "--data", str(videos), "--set", "train.workers=0"]) == 2
    error = capsys.readouterr().err
    assert "--encoder imagebind: imagebind.models.imagebind_model cannot be imported" in error
    assert "pip install git+https://github.com/facebookresearch/ImageBind brings it" in error


def test_a_model_that_timm_has_not_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["run", "--encoder", "pair", "--set", "encoder.picture_model=nothing_such"]) == 2
    assert "encoder.picture_model: found nothing_such, valid: a model of timm" in capsys.readouterr().err

"""PE-AV through transformers, from a tiny random configuration that is built here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avbench import cli
from avbench.store.extracted import arrays

transformers = pytest.importorskip("transformers", reason="the extra 'encoders' is not installed")
if not hasattr(transformers, "PeAudioVideoModel"):
    pytest.skip("this version of transformers has no PE-AV", allow_module_level=True)

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 16,
}
_TEXT = {"model_type": "modernbert", "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1}
_TEXT |= {"num_attention_heads": 2, "vocab_size": 64}
_TEXT |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as ``save_pretrained`` writes one."""
    from transformers.models.pe_audio.feature_extraction_pe_audio import PeAudioFeatureExtractor
    from transformers.models.pe_video.video_processing_pe_video import PeVideoVideoProcessor

    vision = {"model_type": "timm_wrapper", "architecture": "vit_pe_core_tiny_patch16_384", "do_pooling": True}
    vision |= {"global_pool": "map", "initializer_range": 0.02}
    vision |= {"model_args": {"img_size": 48, "depth": 2, "embed_dim": 32, "num_heads": 2}}
    dac = {"model_type": "dac", "downsampling_ratios": [2, 8, 10, 12], "encoder_hidden_size": 4, "codebook_dim": 8}
    config = transformers.PeAudioVideoConfig(
        text_config=_TEXT,
        audio_video_config={
            **_SIZES,
            "audio_config": {"model_type": "pe_audio_encoder", **_SIZES, "dac_config": dac},
            "video_config": {"model_type": "pe_video_encoder", **_SIZES, "vision_config": vision},
        },
    )
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("pe_av")
    transformers.PeAudioVideoModel(config).save_pretrained(made)
    PeAudioFeatureExtractor().save_pretrained(made)
    pixels: dict[str, Any] = {"size": {"height": 48, "width": 48}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    PeVideoVideoProcessor(**pixels, do_resize=True, do_rescale=True, do_normalize=True).save_pretrained(made)
    return made


@pytest.fixture
def run(videos: Path, folder: Path, tmp_path: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)

    def go(*words: str, command: tuple[str, ...] = ("run", "--encoder", "pe_av")) -> int:
        shared = [*command, "--data", str(videos)]
        return cli.main([*shared, "--set", f"encoder.model={folder}", *words])

    return go


def test_it_is_judged_by_every_kind_of_task(run, videos: Path) -> None:
    workers = "train.workers=0"
    assert run(workers, "--task", "retrieval", "linear_probe") == 0
    masks = f"task.annotations={videos.parent / 'masks.npz'}"
    assert run(workers, masks, "task.pictures=0", "data.split=all", "--task", "localization") == 0
    records = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/record.json")]
    assert {record["task"] for record in records} == {"retrieval", "linear_probe", "localization"}
    assert {record["method"] for record in records} == {"pe_av"}
    probe = next(record for record in records if record["task"] == "linear_probe")
    assert {"audio/top1", "visual/top1", "joint/top1"} <= probe["metrics"].keys()
    tokens = next(record for record in records if record["task"] == "localization")["stages"]["tokens"][0]
    assert arrays(Path("results/stages/tokens") / tokens)["visual"].shape == (8, 16, 3, 3, 24)


def test_the_checker_finds_nothing_wrong(run, capsys: pytest.CaptureFixture) -> None:
    run(command=("check", "encoder", "pe_av"))
    lines = capsys.readouterr().out.splitlines()
    # Random weights know no pairs; all else must be right.
    assert not [line for line in lines if line.startswith("FAILED") and "own sound" not in line]
    assert any("patches: (8, 16, 3, 3, 24)" in line for line in lines)


def test_features_are_those_of_transformers(folder: Path) -> None:
    from transformers.models.pe_audio.feature_extraction_pe_audio import PeAudioFeatureExtractor
    from transformers.models.pe_video.video_processing_pe_video import PeVideoVideoProcessor

    from avbench.encoders.pe_av import PeAv

    encoder = PeAv(str(folder))
    encoder.load("cpu")
    generator = torch.Generator().manual_seed(1)
    waves = [torch.randn(count, generator=generator) * 0.1 for count in (30_000, 30_000, 21_000)]
    frames = [torch.randint(0, 256, (16, 60, 80, 3), generator=generator, dtype=torch.uint8) for _ in waves]
    model = transformers.PeAudioVideoModel.from_pretrained(folder).eval()
    hear, see = PeAudioFeatureExtractor.from_pretrained(folder), PeVideoVideoProcessor.from_pretrained(folder)
    with torch.inference_mode():
        prepared = [encoder.prepare_visual(each, torch.zeros(16)) for each in frames]
        found = {
            "audio_embeds": encoder.audio(waves, 48_000),
            "video_embeds": encoder.visual(prepared, []),
            "audio_video_embeds": encoder.joint(waves, 48_000, prepared, []),
        }
        for row, (wave, video) in enumerate(zip(waves, frames, strict=True)):
            sound = hear([wave.numpy()], sampling_rate=48_000, return_tensors="pt")
            picture = see([video.permute(0, 3, 1, 2)], return_tensors="pt", do_sample_frames=False)
            wanted = model(**sound, **picture)
            for name, values in found.items():
                assert np.allclose(values[row], wanted[name][0], atol=1e-5), name


def test_a_patch_that_is_the_whole_picture_is_embedded_as_the_picture(folder: Path) -> None:
    """The way of a patch's token is a frame's: where head and encoder get a frame's own values, both end alike."""
    from avbench.encoders.pe_av import PeAv

    encoder = PeAv(str(folder))
    encoder.load("cpu")
    pixels = torch.randn(2, 1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        vision = encoder.model.video_model.video_encoder.embedder.vision_model
        logits = torch.nn.functional.normalize(vision(pixels[:, 0]).logits, dim=-1)[:, None]
        assert torch.allclose(encoder._videos(None, logits), encoder._videos(pixels), atol=1e-6)


def test_its_folder_is_part_of_its_ids(folder: Path, tmp_path: Path) -> None:
    from avbench.encoders.pe_av import PeAv

    before = PeAv(str(folder)).revision()
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert PeAv(str(other)).revision() == before
    (other / "config.json").write_text("{}")
    assert PeAv(str(other)).revision() != before

"""``avbench features`` on the authors' layout with an authors' checkpoint, against their steps done one by one."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from PIL import Image
from torchvision import transforms

from avbench.cli import main
from avbench.config import InputConfig, ModelConfig
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.streams import single_stream
from avbench.rng import numpy_stream
from avbench.training.export import export_published

# One head of 64 and one of 32, as the published widths imply; full-size inputs.
MODEL = ModelConfig(
    embed_dim=64,
    num_heads=1,
    modality_depth=2,
    joint_depth=1,
    decoder_embed_dim=32,
    decoder_depth=1,
    decoder_num_heads=1,
)
NAMES = ("-a b", "clip.2", "c3")  # names as video sites give them
SECONDS = (10.0, 3.2, 12.0)  # whole, padded, cut


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("authors")
    entries = []
    for k, (name, seconds) in enumerate(zip(NAMES, SECONDS, strict=True)):
        draws = numpy_stream(k, "sound").standard_normal(int(16000 * seconds)) * 3000 + 500
        with wave.open(str(root / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(draws.astype("<i2").tobytes())
        for frame in range(10):
            folder = root / f"frame_{frame}"
            folder.mkdir(exist_ok=True)
            pixels = numpy_stream(k, "picture", frame).integers(0, 256, (15, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((300, 240)).save(folder / f"{name}.jpg")
        entries.append({"video_id": name, "wav": str(root / f"{name}.wav"), "video_path": str(root), "labels": "/m/0"})
    (root / "manifest.json").write_text(json.dumps({"data": entries}))
    return root


def reference_inputs(root: Path, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The authors' loader (docs/protocol/cavmae.md 2.3), with their libraries."""
    with wave.open(str(root / f"{name}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    waveform = torch.from_numpy(samples)[None]
    fbank = torchaudio.compliance.kaldi.fbank(
        waveform - waveform.mean(),
        htk_compat=True,
        sample_frequency=16000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )
    fbank = torch.nn.functional.pad(fbank, (0, 0, 0, max(0, 1024 - len(fbank))))[:1024]
    image = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.open(root / "frame_5" / f"{name}.jpg"))
    return (fbank + 5.081) / 4.4849, image


def test_features_equal_the_reference_steps(layout: Path, tmp_path: Path) -> None:
    model = CavMae(CavMaeConfig(), MODEL, InputConfig(), seed=3)
    export_published(tmp_path / "audio_model.25.pth", model)
    out = tmp_path / "features.npz"
    words = ["features", "--method", "cavmae", "--checkpoint", str(tmp_path / "audio_model.25.pth")]
    assert main([*words, "--data", str(layout / "manifest.json"), "--out", str(out), "--results", str(tmp_path)]) == 0
    with np.load(out) as features:
        assert features["id"].tolist() == list(NAMES)
        assert features["audio"].shape == features["visual"].shape == (3, 1, 64)
        assert features["audio"].dtype == np.float32
        for k, name in enumerate(NAMES):
            audio, image = reference_inputs(layout, name)
            with torch.inference_mode():
                expected_audio = single_stream(model.encoder, "audio", audio[None]).mean(dim=1)[0]
                expected_visual = single_stream(model.encoder, "visual", image[None]).mean(dim=1)[0]
            for found, expected in ((features["audio"], expected_audio), (features["visual"], expected_visual)):
                unit = (expected / expected.norm()).numpy()
                np.testing.assert_allclose(found[k, 0], unit, atol=1e-5)


def test_a_whole_run_on_the_authors_layout(layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = CavMae(CavMaeConfig(), MODEL, InputConfig(), seed=3)
    export_published(tmp_path / "w.pth", model)
    words = ["evaluate", "--method", "cavmae", "--checkpoint", str(tmp_path / "w.pth")]
    words += ["--data", str(layout / "manifest.json"), "--results", str(tmp_path), "--format", "json"]
    assert main(words) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["n"] == 3
    assert record["split"] == "all"
    assert record["weights"] == "checkpoint"


def test_a_checkpoint_with_missing_and_extra_keys_is_refused_before_anything_is_written(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = CavMae(CavMaeConfig(), MODEL, InputConfig(), seed=3)
    state = {**model.state_dict(), "surplus": torch.zeros(2)}
    del state["norm.weight"]
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "broken.pth")
    before = sorted(tmp_path.rglob("*"))
    words = ["run", "--method", "cavmae", "--task", "retrieval", "--checkpoint", str(tmp_path / "broken.pth")]
    assert main([*words, "--data", str(layout / "manifest.json"), "--results", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert "norm.weight" in error
    assert "surplus" in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before

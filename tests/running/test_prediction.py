"""The classes of videos: by a model that was fine-tuned here, and by the authors' file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avbench.cli import main
from avbench.config import InputConfig, ModelConfig
from avbench.methods.classifier import Classifier
from avbench.methods.encoder import Encoder
from avbench.methods.vit import uninitialised
from avbench.store.records import all_records, read_per_sample
from avbench.training.export import export_published

CLIP = "test_000000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, and a model fine-tuned on them."""
    made = tmp_path_factory.mktemp("predict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(made / "cache"))
        assert main(["data", "make", "soundshapes", "--out", str(made / "clips"), "--clips", "24"]) == 0
        words = ["run", "--method", "cavmae", "--task", "classification", "--data", str(made / "clips" / "labels.csv")]
        words += ["--preset", "smoke", "--set", "task.label=shape", "task.steps=6", "--skip-untrained"]
        assert main([*words, "--results", str(made / "results")]) == 0
    return made


def finetuned(folder: Path) -> Path:
    (found,) = (folder / "results").glob("stages/finetune/*/finetuned.safetensors")
    return found


def authors(path: Path, n_classes: int) -> Path:
    """Writes a fine-tuned model as the authors publish theirs: keys and tensors, and nothing that tells of them."""
    model = ModelConfig(embed_dim=64, num_heads=1, modality_depth=1, joint_depth=1)
    with uninitialised():
        encoder = Encoder(model, InputConfig(target_length=64, image_size=32), trainable_positions=True)
    export_published(path, Classifier(encoder, n_classes))
    return path


def test_our_model_names_its_classes_and_agrees_with_its_record(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = folder / "clips" / "videos" / f"{CLIP}.mp4"
    assert main(["predict", str(video), "--checkpoint", str(finetuned(folder)), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    probabilities = row["probabilities"]
    assert set(probabilities) == {"disk", "square", "triangle", "ring"}
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    (record,) = all_records(folder / "results")
    outputs = read_per_sample(folder / "results", record["id"])
    ours = np.array(list(probabilities.values()))
    recorded = outputs["joint/scores"][list(outputs["id"]).index(CLIP)]
    np.testing.assert_allclose(ours, recorded, atol=0.03)  # its frames are stored as JPEG, at times of the whole clip


ENCODER = """
import avbench, torch


class Mine(avbench.Encoder, torch.nn.Module):
    trainable = True
    image = (8, 8)

    def __init__(self, width: int = 6):
        super().__init__()
        torch.manual_seed(0)
        self.hear, self.see = torch.nn.Linear(2, width), torch.nn.Linear(192, width)

    def audio(self, waves, rate):
        return self.hear(torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves]))

    def visual(self, frames, times):
        return self.see(torch.stack(frames).float().flatten(1) / 255)
"""


def test_a_model_of_an_encoder_agrees_with_its_record(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A file names no code that runs: the encoder is named by whoever predicts."""
    (tmp_path / "mine.py").write_text(ENCODER)
    encoder = f"{tmp_path}/mine.py:Mine"
    words = ["--encoder", encoder, "--data", str(folder / "clips" / "labels.csv"), "--results", str(tmp_path)]
    short = ["task.label=shape", "task.steps=6", "task.batch_size=8", "task.average_from=0", "train.workers=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        assert main(["run", *words, "--task", "classification", "--set", *short, "encoder.width=5"]) == 0
    (found,) = tmp_path.glob("stages/finetune/*/finetuned.safetensors")
    predict = ["predict", str(folder / "clips" / "videos" / f"{CLIP}.mp4"), "--checkpoint", str(found)]
    capsys.readouterr()
    assert main([*predict, "--encoder", encoder, "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    (record,) = all_records(tmp_path)
    outputs = read_per_sample(tmp_path, record["id"])
    recorded = outputs["joint/scores"][list(outputs["id"]).index(CLIP)]
    np.testing.assert_allclose(np.array(list(row["probabilities"].values())), recorded, atol=0.03)
    assert main(predict) == 2
    assert f"found a model of {encoder}, valid with --encoder {encoder}." in capsys.readouterr().err
    (tmp_path / "other.py").write_text(ENCODER.replace("/ 255", "/ 256"))
    assert main([*predict, "--encoder", f"{tmp_path}/other.py:Mine"]) == 0
    assert "fine-tuned with other code of Mine" in caplog.text


def test_top_classes_are_printed_with_the_most_probable_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = [str(path) for path in sorted((folder / "clips" / "videos").glob("test_*.mp4"))[:2]]
    assert main(["predict", *videos, "--checkpoint", str(finetuned(folder)), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == videos
    shares = [float(line.split()[0]) for line in lines if line.startswith(" ")]
    assert len(shares) == 4
    assert shares[0] >= shares[1]


def test_the_authors_file_has_the_classes_of_the_set_with_as_many(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = str(folder / "clips" / "videos" / f"{CLIP}.mp4")
    checkpoint = str(authors(tmp_path / "vggsound.pth", 309))
    assert main(["predict", video, "--checkpoint", checkpoint, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert "bird chirping, tweeting" in rows[0]["probabilities"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)  # one of them each
    assert main(["predict", video, "--checkpoint", checkpoint, "--mode", "missingvideoonly", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) != rows
    labels = tmp_path / "labels.csv"
    labels.write_text("index,mid,display_name\n0,/m/a,cat\n1,/m/b,dog\n")
    pair = str(authors(tmp_path / "pair.pth", 2))
    assert main(["predict", video, "--checkpoint", pair, "--labels", str(labels)]) == 0
    assert "cat" in capsys.readouterr().out


def test_what_cannot_be_predicted_is_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, ours = str(folder / "clips" / "videos" / f"{CLIP}.mp4"), str(finetuned(folder))
    (pretrained,) = (folder / "results").glob("stages/pretrain/*/weights.safetensors")
    cases = {
        ("--checkpoint", ours): "found no video",
        (video,): "found no --checkpoint, valid: --checkpoint FILE",
        (video, "--checkpoint", "none.pth"): "none.pth: no such file",
        ("none.mp4", "--checkpoint", ours): "none.mp4: no such file",
        (video, "--checkpoint", ours, "--top", "0"): "--top: found 0, valid: at least 1",
        (video, "--checkpoint", ours, "--labels", "x.csv"): "which names its classes",
        (video, "--checkpoint", ours, "--encoder", "x.py:Mine"): "not used with",
        (video, "--checkpoint", str(pretrained)): "cavmae pretraining weights of avbench, valid: a fine-tuned model",
        (video, "--checkpoint", str(authors(tmp_path / "pair.pth", 2))): "of the 2 classes",
    }
    for words, expected in cases.items():
        assert main(["predict", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert expected in error

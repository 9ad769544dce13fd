"""Runs on data with sound alone or pictures alone, from the command to the record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_files import tone, write_video

from avbench.cli import main
from avbench.store.records import all_records

TINY = [
    *("model.embed_dim=16", "model.num_heads=2", "model.modality_depth=1", "model.decoder_embed_dim=16"),
    *("model.decoder_num_heads=2", "input.target_length=96", "input.image_size=64", "data.n_frames=4"),
    *("train.steps=1", "train.batch_size=4", "train.workers=0"),
]
ONE = ["linear_probe", "knn", "class_retrieval", "reconstruction"]
ENCODER = """
import avbench, torch

class Both(avbench.Encoder):
    sample_rate, seconds, frames, image = 16_000, 1.0, 2, 16

    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w[1:].sub(w[:-1]).std()]) for w in waves])

    def visual(self, frames, times):
        light = torch.stack([f.float().mean() for f in frames])
        return torch.stack([light, 255 - light], dim=1)

    def joint(self, waves, rate, frames, times):
        return torch.cat([self.audio(waves, rate), self.visual(frames, times)], dim=1)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``films``, ``sounds`` and ``mute``: two classes that can be told by ear and by eye."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(16):
        high = number % 2
        name, label = f"clip{number:02d}", ("low", "high")[high]
        levels, sound = [40 + 120 * high + number] * 13, tone(0.5, 300.0 + 2000 * high + 10 * number)
        write_video(folder / "films" / label / f"{name}.mp4", levels=levels, sound=sound)
        write_video(folder / "sounds" / label / f"{name}.wav", sound=sound, audio_codec="pcm_s16le")
        write_video(folder / "mute" / label / f"{name}.mp4", levels=levels)
    return folder


@pytest.fixture(autouse=True)
def _cache(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(data / "cache"))


def streams(results: Path) -> dict[str, set[str]]:
    """Returns, by task, what the metrics of its trained or given model are of."""
    kept = [each for each in all_records(results) if each["weights"] != "untrained"]
    return {each["task"]: {name.partition("/")[0] for name in each["metrics"]} for each in kept}


@pytest.mark.parametrize(
    ("method", "folder", "stream", "within"),
    [("audiomae", "sounds", "audio", "a2a"), ("visualmae", "mute", "visual", "v2v")],
)
def test_a_method_of_one_modality_is_trained_and_judged(
    data: Path, tmp_path: Path, method: str, folder: str, stream: str, within: str
) -> None:
    words = ["--method", method, "--data", str(data / folder), "--results", str(tmp_path), "--task", *ONE]
    assert main(["run", *words, "--set", *TINY]) == 0
    found = streams(tmp_path)
    assert found.pop("class_retrieval") == {within, "gallery"}
    assert set(found) == set(ONE) - {"class_retrieval"}
    assert set.union(*found.values()) == {stream}


@pytest.mark.parametrize("method", ["cavmae", "cavmae_sync"])
def test_a_method_of_both_is_judged_on_one(data: Path, tmp_path: Path, method: str) -> None:
    sets = ["input.segment_length=32"] if method == "cavmae_sync" else []
    made = ["--method", method, "--data", str(data / "films"), "--results", str(tmp_path / "first")]
    assert main(["pretrain", *made, "--set", *TINY, *sets]) == 0
    (weights,) = (tmp_path / "first").glob("stages/pretrain/*/*.safetensors")
    given, run = ["--method", method, "--checkpoint", str(weights), "--data"], ["--set", *TINY[6:8], *sets]
    sounds, films, mute = (str(data / name) for name in ("sounds", "films", "mute"))
    tasks = ["--task", "linear_probe", "class_retrieval"]
    for source, words in ((sounds, run), (films, [*run, "data.modality=audio"])):
        results = tmp_path / Path(source).name
        assert main(["run", *given, source, "--results", str(results), *tasks, *words]) == 0
        assert streams(results) == {"linear_probe": {"audio"}, "class_retrieval": {"a2a", "gallery"}}
    tuned = ["--task", "classification", *run, "task.steps=1", "task.batch_size=4"]
    assert main(["run", *given, mute, "--results", str(tmp_path / "mute"), *tuned]) == 0
    assert streams(tmp_path / "mute") == {"classification": {"visual"}}
    out = tmp_path / "sounds.npz"
    assert main(["features", *given, sounds, "--out", str(out), "--results", str(tmp_path / "sounds"), *run]) == 0
    with np.load(out) as arrays:
        assert sorted(arrays) == ["audio", "config", "id"]
        ids = arrays["id"].tolist()
    assert len(ids) == 16
    labels = ["id,label", *(f"{name},{('low', 'high')[int(name[4:]) % 2]}" for name in ids)]
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    files = ["--features", str(out), "--labels", str(tmp_path / "labels.csv"), "--results", str(tmp_path / "theirs")]
    assert main(["evaluate", "--task", "class_retrieval", *files]) == 0
    (record,) = all_records(tmp_path / "theirs")
    assert set(record["metrics"]) == {"a2a/mAP", "a2a/nDCG", "a2a/class@1", "gallery/label_overlap"}


@pytest.mark.parametrize(("folder", "stream", "within"), [("sounds", "audio", "a2a"), ("mute", "visual", "v2v")])
def test_an_encoder_of_both_hears_or_sees_what_there_is(
    data: Path, tmp_path: Path, folder: str, stream: str, within: str
) -> None:
    (tmp_path / "both.py").write_text(ENCODER)
    words = [
        "--encoder",
        f"{tmp_path / 'both.py'}:Both",
        "--data",
        str(data / folder),
        "--results",
        str(tmp_path / "r"),
    ]
    assert main(["run", *words, "--task", "linear_probe", "knn", "class_retrieval"]) == 0
    found = streams(tmp_path / "r")
    assert found == {"linear_probe": {stream}, "knn": {stream}, "class_retrieval": {within, "gallery"}}
    top = {each["task"]: each["metrics"].get(f"{stream}/top1") for each in all_records(tmp_path / "r")}
    assert (top["linear_probe"], top["knn"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("method", "folder", "task", "told"),
    [
        (
            "cavmae",
            "sounds",
            "knn",
            "is pretrained on sound and pictures, and DATA has sound alone; valid: --check",
        ),
        ("cavmae", "sounds", "knn", " FILE, or --method audiomae."),
        ("visualmae", "sounds", "knn", "'visualmae': takes pictures alone, and DATA has sound alone"),
        ("audiomae", "mute", "knn", "'audiomae': takes sound alone, and DATA has pictures alone; valid: visualmae, "),
        (
            "cavmae",
            "mute",
            "retrieval",
            "'retrieval': needs sound and pictures, and DATA has pictures alone; valid: cl",
        ),
        ("cavmae", "sounds", "offset", "'offset': needs sound and pictures, and DATA has sound alone"),
    ],
)
def test_what_needs_the_other_is_refused_before_anything_is_computed(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    method: str,
    folder: str,
    task: str,
    told: str,
) -> None:
    words = ["--method", method, "--data", str(data / folder), "--task", task, "--results", str(tmp_path / "r")]
    assert main(["run", *words, "--set", *TINY]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert told.replace("DATA", str(data / folder)) in error[-1]
    assert not [line for line in error if "Traceback" in line]
    assert not list(tmp_path.glob("r/stages/*"))

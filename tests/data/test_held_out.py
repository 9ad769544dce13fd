"""From the command line, on the authors' layout: what trains is not judged, and what is judged is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import clip_files
import pytest

import avbench
from avbench.cli import main
from avbench.store.records import all_records, read_per_sample

TINY = [
    *(
        "data.n_frames=2",
        "input.image_size=32",
        "input.target_length=64",
        "train.workers=0",
        "train.steps=1",
        "train.batch_size=2",
    ),
    *("model.embed_dim=48", "model.modality_depth=1", "model.decoder_embed_dim=32"),
]


def manifest(folder: Path, first: int, count: int, *, splits: bool = False, labels: bool = True) -> Path:
    """Clips ``clipN`` in the authors' layout, of two classes in turn; the last two test, with ``splits``."""
    path = clip_files.authors(folder, n=first + count, n_frames=2, labels=labels)
    entries = json.loads(path.read_text())["data"][first:]
    for i, entry in enumerate(entries):
        entry["labels"] = ("/m/a", "/m/b")[i % 2]
        if splits:
            entry["split"] = "eval" if i >= count - 2 else "train"
    path.write_text(json.dumps({"data": entries}))
    return path


def records(results: Path, task: str) -> list[dict[str, Any]]:
    return [record for record in all_records(results) if record["task"] == task]


def judged(results: Path, record: dict[str, Any]) -> set[str]:
    return set(read_per_sample(results, record["id"])["id"].tolist())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A manifest of twelve clips without splits, results of a pretraining on it, and its weights."""
    folder = tmp_path_factory.mktemp("trained")
    source, results = manifest(folder / "data", 0, 12), folder / "results"
    words = ["--method", "cavmae", "--data", str(source), "--results", str(results), "--preset", "tiny"]
    assert main(["run", *words, "--task", "retrieval", "--set", *TINY]) == 0
    (weights,) = results.glob("stages/pretrain/*/weights.safetensors")
    return source, results, weights


def evaluate(weights: Path, source: Path, results: Path, task: str, *sets: str) -> int:
    words = ["--method", "cavmae", "--checkpoint", str(weights), "--data", str(source), "--results", str(results)]
    return main(["evaluate", *words, "--task", task, "--set", "data.n_frames=2", "train.workers=0", *sets])


def test_the_record_says_that_what_was_judged_was_held_out(trained: tuple[Path, Path, Path]) -> None:
    _, results, _ = trained
    for record in records(results, "retrieval"):
        assert record["trained_on"] == {"known": True, "shared": 0}
        assert record["selection"]["of"] == 12
        assert record["selection"]["held_out"] == "hash"


def test_a_probe_of_given_weights_is_judged_on_held_out_clips(
    trained: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, results, weights = trained
    held_out = judged(results, records(results, "retrieval")[0])
    assert evaluate(weights, source, tmp_path, "linear_probe", "task.resamples=0") == 0
    assert f"judged: {len(held_out)} of 12 clips, held out by the hash of their ids" in capsys.readouterr().out
    (record,) = records(tmp_path, "linear_probe")
    assert record["split"] == "test"
    assert judged(tmp_path, record) == held_out
    assert record["trained_on"] == {"known": True, "shared": 0}


def test_a_probe_judged_on_its_own_clips_is_refused_with_the_count(
    trained: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, results, weights = trained
    count = 12 - len(judged(results, records(results, "retrieval")[0]))
    assert evaluate(weights, source, tmp_path, "linear_probe", "data.split=all") == 2
    assert f"{count} of the 12 judged clips are among those" in capsys.readouterr().err
    assert not list(tmp_path.rglob("record.json"))


def test_clips_that_the_weights_have_seen_are_mentioned_and_recorded(
    trained: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, results, weights = trained
    count = 12 - len(judged(results, records(results, "retrieval")[0]))
    assert evaluate(weights, source, tmp_path, "retrieval") == 0
    (record,) = records(tmp_path, "retrieval")
    assert (record["n"], record["trained_on"]) == (12, {"known": True, "shared": count})
    assert sum(f"trained on {count} of the 12 judged clips" in text for text in caplog.messages) == 1


def test_a_second_source_is_judged_and_all_of_the_first_trains(tmp_path: Path) -> None:
    first, second = manifest(tmp_path / "a", 0, 6), manifest(tmp_path / "b", 6, 4, labels=False)
    settings = dict(text.split("=") for text in TINY)
    found = avbench.run(
        "cavmae",
        "linear_probe",
        data=first,
        eval_data=second,
        preset="tiny",
        settings={**{key: int(value) for key, value in settings.items()}, "task.resamples": 0},
        results=tmp_path / "results",
    )
    for record in found:
        assert (record["n"], record["split"], record["trained_on"]["shared"]) == (4, "all", 0)
        assert judged(tmp_path / "results", record) == {"clip6", "clip7", "clip8", "clip9"}
        assert record["config"]["data"]["eval_source"] == str(second)
    (done,) = (tmp_path / "results").glob("stages/pretrain/*/trained_on.npy")
    assert done.stat().st_size == 128 + 8 * 6


def test_splits_of_a_manifest_are_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = manifest(tmp_path / "data", 0, 8, splits=True)
    words = ["--method", "cavmae", "--data", str(source), "--results", str(tmp_path / "r"), "--preset", "tiny"]
    assert main(["run", *words, "--task", "retrieval", "--set", *TINY]) == 0
    for record in records(tmp_path / "r", "retrieval"):
        assert record["split"] == "test"
        assert judged(tmp_path / "r", record) == {"clip6", "clip7"}
    assert main(["run", *words, "--task", "retrieval", "--eval-data", str(tmp_path / "none"), "--set", *TINY]) == 2
    assert "--eval-data" in capsys.readouterr().err

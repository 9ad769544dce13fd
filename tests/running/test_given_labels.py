"""Vectors and scores of labelled clips that anybody made: judged as a method's are, recorded, refused in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from avbench.cli import main
from avbench.files import sha256_file
from avbench.metrics import class_retrieval, classification, neighbours
from avbench.store.records import all_records, read_per_sample

Array = npt.NDArray[Any]
CLASSES = ("bird", "cat", "cow", "dog")
N, TRAIN = 60, 40


def arrays(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, 12))[np.arange(N) % 4]
    audio, visual = (centres + 1.5 * rng.standard_normal((2, N, 12))).astype(np.float32)
    return {"id": np.array([f"clip{i:02d}" for i in range(N)]), "audio": audio, "visual": visual}


def labels(path: Path, *, split: bool = True, names: tuple[str, ...] = CLASSES, clips: int = N) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "label", *(["split"] if split else [])])
        for i in range(clips):
            rows.writerow([f"clip{i:02d}", names[i % 4], *(["train" if i < TRAIN else "test"] if split else [])])
        rows.writerow(["another", "bird", *(["test"] if split else [])])  # of a clip that the file lacks
    return path


def evaluate(folder: Path, task: str, *words: str, **changed: Array | None) -> int:
    """Evaluates a file with some arrays changed, or left out (None)."""
    held = {name: values for name, values in (arrays() | changed).items() if values is not None}
    np.savez(folder / "theirs.npz", allow_pickle=False, **held)  # type: ignore[arg-type]
    files = ["--features", str(folder / "theirs.npz"), "--results", str(folder / "results")]
    return main(["evaluate", "--task", task, *files, "--set", "task.resamples=20", *words])


def one(folder: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    (record,) = all_records(folder / "results")
    return record, read_per_sample(folder / "results", record["id"])


def with_labels(folder: Path, **options: Any) -> list[str]:
    return ["--labels", str(labels(folder / "labels.csv", **options))]


def test_neighbours_are_those_of_split_train(tmp_path: Path) -> None:
    assert evaluate(tmp_path, "knn", *with_labels(tmp_path), "--set", "task.k=5", "--name", "mine") == 0
    record, kept = one(tmp_path)
    held, marks = arrays(), np.eye(4, dtype=bool)[np.arange(TRAIN) % 4]
    for stream in ("audio", "visual"):
        values = held[stream]
        expected = neighbours.scores(values[:TRAIN], marks, values[TRAIN:], k=5, temperature=0.07)
        np.testing.assert_allclose(kept[f"{stream}/scores"], expected, atol=1e-6)
    assert kept["id"].tolist() == held["id"][TRAIN:].tolist()
    assert (record["method"], record["weights"], record["n"]) == ("mine", "given", N - TRAIN)
    assert {name.split("/")[0] for name in record["metrics"]} == {"audio", "visual"}


def test_a_probe_of_one_stream_of_any_width_with_frames(tmp_path: Path) -> None:
    joint = np.random.default_rng(1).standard_normal((N, 3, 7)) + np.eye(7)[np.arange(N) % 4][:, None] * 3
    words = [*with_labels(tmp_path), "--set", "task.iterations=20"]
    assert evaluate(tmp_path, "linear_probe", *words, joint=joint, audio=None, visual=None) == 0
    record, _ = one(tmp_path)
    assert set(record["metrics"]) == {"joint/top1", "joint/mAP", "joint/mAUC", "joint/d_prime"} & set(record["metrics"])
    assert record["metrics"]["joint/top1"] > 0.9
    assert record["stages"] == {}  # nothing that could be ranked again


def test_retrieval_by_class_and_its_clips_in_common(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path, "class_retrieval", *with_labels(tmp_path, split=False), "--name", "one") == 0
    record, _ = one(tmp_path)
    held = arrays()
    found = class_retrieval.by_class(
        held["audio"][:, None], held["visual"][:, None], np.eye(4)[np.arange(N) % 4], aggregation="mean"
    )
    assert record["metrics"]["a2v/mAP"] == pytest.approx(found[0].ap.mean())
    assert record["metrics"]["v2a/nDCG"] == pytest.approx(found[1].ndcg.mean())
    other = with_labels(tmp_path)  # the last 20 are judged
    assert evaluate(tmp_path, "class_retrieval", *other, "--name", "two", **arrays(1)) == 0
    one_id, two_id = (each["id"] for each in sorted(all_records(tmp_path / "results"), key=lambda r: str(r["method"])))
    capsys.readouterr()
    words = ["compare", one_id, two_id, "--common-ids", "--results", str(tmp_path / "results")]
    assert main(words) == 0
    shared = (held[side][TRAIN:, None] for side in ("audio", "visual"))
    fewer = class_retrieval.by_class(*shared, np.eye(4)[np.arange(N - TRAIN) % 4], aggregation="mean")[0]
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("a2v/mAP"))
    assert line.split()[1] == f"{100 * fewer.ap.mean():.2f}"
    assert main(["tables", "--format", "terminal", "--results", str(tmp_path / "results")]) == 0
    assert main(["report", "--results", str(tmp_path / "results")]) == 0


@pytest.mark.parametrize("name", ["scores", "audio/scores"])
def test_scores_are_judged_by_the_classes_of_their_columns(tmp_path: Path, name: str) -> None:
    scores = np.random.default_rng(2).random((N, 4))
    order = [2, 0, 3, 1]
    shuffled = {name: scores[:, order], "classes": np.array(CLASSES)[order]}
    words = with_labels(tmp_path, split=False)
    assert evaluate(tmp_path, "classification", *words, audio=None, visual=None, **shuffled) == 0
    record, _ = one(tmp_path)
    expected = classification.summarise(scores, np.arange(N) % 4)
    stream = "audio" if "/" in name else "joint"
    assert record["metrics"] == pytest.approx({f"{stream}/{key}": value for key, value in expected.items()})
    (tmp_path / "plain").mkdir()
    assert evaluate(tmp_path / "plain", "classification", *words, audio=None, visual=None, scores=scores) == 0
    assert one(tmp_path / "plain")[0]["metrics"]["joint/top1"] == pytest.approx(expected["top1"])


def test_several_labels_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    rows = [f"clip{i:02d},{CLASSES[i % 4]}{';cow' if i % 4 == 1 else ''},test" for i in range(N)]
    path.write_text("\n".join(["id,label,split", *rows, "clip00,dog,test"]) + "\n")
    scores = np.random.default_rng(2).random((N, 4))
    assert evaluate(tmp_path, "classification", "--labels", str(path), scores=scores) == 0
    target = np.array([[name in row.split(",")[1].split(";") for name in CLASSES] for row in rows])
    target[0, 3] = True
    expected = classification.summarise(scores, target)
    assert one(tmp_path)[0]["metrics"] == pytest.approx({f"joint/{key}": value for key, value in expected.items()})


def test_the_labels_are_part_of_the_id_and_plain_retrieval_needs_none(tmp_path: Path) -> None:
    words = with_labels(tmp_path)
    assert evaluate(tmp_path, "knn", *words, "--name", "mine") == 0
    first = one(tmp_path)[0]["id"]
    assert evaluate(tmp_path, "knn", *words, "--name", "mine") == 0
    assert one(tmp_path)[0]["id"] == first
    with_labels(tmp_path, names=("dog", "cow", "bird", "cat"))
    assert evaluate(tmp_path, "knn", *words, "--name", "mine", "--force") == 0
    ids = {each["id"] for each in all_records(tmp_path / "results")}
    assert len(ids) == 2
    assert evaluate(tmp_path, "retrieval") == 0
    (plain,) = (each for each in all_records(tmp_path / "results") if each["task"] == "retrieval")
    assert plain["config"]["given"]["sha256"] == sha256_file(tmp_path / "theirs.npz")


@pytest.mark.parametrize(
    ("task", "words", "changed", "told"),
    [
        ("knn", {}, None, "--labels: found nothing, valid: a CSV with the columns id,label[,split], for task 'knn'"),
        ("classification", {}, None, "--labels: found nothing"),
        ("class_retrieval", {}, None, "--labels: found nothing"),
        ("localization", {}, {}, "--labels: not used by task 'localization', valid: class_retrieval, classification"),
        ("knn", {"split": False}, {}, "found no clip of split train, which task 'knn' learns from"),
        ("knn", {"clips": 58}, {}, "found no row for 2 of the 60 clips that are judged (clip58, clip59)"),
        ("knn", {}, {"audio": None, "visual": None}, "found id, valid: an .npz with id, any of audio"),
        ("knn", {}, {"audio": np.ones((59, 2))}, "found 60 ids and audio of shape (59, 2), valid: a row for each id"),
        ("knn", {}, {"audio": np.full((N, 2), np.nan)}, "audio vectors: found values that are not finite in 40 of 40"),
        (
            "class_retrieval",
            {},
            {"audio": None, "visual": None, "joint": np.ones((N, 2))},
            "found neither audio nor visual, valid: one or both",
        ),
        ("class_retrieval", {}, {"visual": np.ones((N, 3))}, "found widths 12 (audio) and 3 (visual)"),
        ("classification", {}, {}, "found none of what task 'classification' judges, valid: scores (n, C)"),
        ("classification", {}, {"scores": np.ones((N, 3))}, "joint/scores: found 3 columns and 4 classes"),
        ("classification", {}, {"scores": np.ones(N)}, "scores: found shape (60,)"),
        (
            "classification",
            {},
            {"scores": np.ones((N, 4)), "classes": np.array(["a", "cat", "cow", "dog"])},
            "found the label 'bird', valid: one of the 4 classes that the .npz names",
        ),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    task: str,
    words: dict[str, Any],
    changed: dict[str, Array | None] | None,
    told: str,
) -> None:
    given = [] if changed is None else with_labels(tmp_path, **words)
    assert evaluate(tmp_path, task, *given, **(changed or {})) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,label\nclip00,dog\n", "found the columns name, label, valid: id,label[,split]"),
        ("id,label,split\nclip00,dog,later\n", ":2: found split 'later', valid: test, train, tune (or empty)"),
        ("id,label,split\nclip00,dog,test\nclip00,cat,train\n", ":3: 'clip00' is of split 'test' above"),
    ],
)
def test_a_csv_that_cannot_be_read_names_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert evaluate(tmp_path, "knn", "--labels", str(tmp_path / "bad.csv")) == 2
    assert told in capsys.readouterr().err


def test_labels_go_with_features_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--task", "knn", "--labels", str(labels(tmp_path / "labels.csv"))]
    assert main([*words, "--checkpoint", "x.pth", "--method", "cavmae"]) == 2
    assert "--labels: not used with a checkpoint" in capsys.readouterr().err
    assert evaluate(tmp_path, "knn", "--labels", str(tmp_path / "none.csv")) == 2
    assert "none.csv: no such file" in capsys.readouterr().err


def test_json_is_as_of_any_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path, "knn", *with_labels(tmp_path), "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.keys() == {"task", "n", "ids_sha256", "metrics", "chance", "ci95", "config"}
    assert shown["config"]["task"]["k"] == 20

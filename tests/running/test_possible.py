"""What the data cannot give: refused before anything is computed, or left out of ``--tasks all`` with a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avbench import api
from avbench.cli import main
from avbench.data.soundshapes import make
from avbench.errors import InputError

TRAINED = ("train.batch_size=4", "train.steps=1", "train.workers=0")
SETS = [word for text in TRAINED for word in ("--set", text)]
# Of videos of three seconds without labels or annotations.
REFUSED = {
    "absent_sound": "task.annotations: found nothing",
    "class_retrieval": "labels: found none for any of the 2 evaluated clips",
    "classification": "labels: found none for any of the 6 training clips",
    "event_localization": "task.annotations: found nothing",
    "knn": "labels: found none for any of the 6 training clips",
    "linear_probe": "labels: found none for any of the 6 training clips",
    "localization": "task.annotations: found nothing",
    "offset": "s around the judged frame (2 of 2 clips); --set task.range=SECONDS.",
    "shuffled_pairs": "labels: found none for any of the 6 training clips",
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make(tmp_path_factory.mktemp("made"), train=8, tune=0, test=0, seed=3, workers=1, progress=False)
    return made / "videos"


@pytest.fixture(autouse=True)
def away(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("task", REFUSED)
def test_a_task_that_is_asked_for_is_refused_before_anything_is_computed(
    videos: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    assert main(["run", "--method", "cavmae", "--task", "retrieval", task, "--data", str(videos), *SETS]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("avbench: error: ")
    assert REFUSED[task] in last
    assert not Path("results").exists()


def test_all_leaves_out_what_the_data_cannot_give(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--method", "cavmae", "--task", "knn", "--data", str(videos), *SETS]) == 2  # prepares them
    capsys.readouterr()
    words = ["grid", "--methods", "cavmae", "--tasks", "all", "--data", str(videos), *SETS]
    assert main([*words, "--dry-run", "--list", "--format", "json"]) == 0
    found = capsys.readouterr()
    assert {run["config"]["task"]["name"] for run in json.loads(found.out)} == {
        "corruption",
        "reconstruction",
        "retrieval",
    }
    for task, reason in REFUSED.items():
        (line,) = (line for line in found.err.splitlines() if line.startswith(f"left out: cavmae {task}: "))
        assert reason in line
    assert not Path("results").exists()


def test_all_of_nothing_that_can_be_done_and_a_wrong_key_are_refused(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["grid", "--methods", "cavmae", "--data", str(videos), *SETS]
    assert main([*words, "--tasks", "linear_probe", "offset", "--dry-run"]) == 2
    assert "labels: found none" in capsys.readouterr().err
    assert main([*words, "--tasks", "all", "--set", "train.stps=3"]) == 2
    assert "unknown key 'train.stps'" in capsys.readouterr().err


def test_fewer_clips_than_a_batch_of_fine_tuning_is_refused(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels.csv").write_text(
        "file,label\n" + "".join(f"{path},{'ab'[i % 2]}\n" for i, path in enumerate(sorted(videos.glob("*.mp4")))),
        encoding="utf-8",
    )
    words = ["run", "--method", "cavmae", "--task", "classification", "--data", "labels.csv", *SETS]
    assert main([*words, "--set", "task.batch_size=7"]) == 2
    assert "task.batch_size: found 7, valid: at most 6, the clips of split 'train'" in capsys.readouterr().err
    assert not Path("results").exists()


def test_python_gets_the_same_error(videos: Path) -> None:
    with pytest.raises(InputError, match="labels: found none"):
        api.run("cavmae", "linear_probe", data=videos, settings={"train.batch_size": 4, "train.steps": 1})

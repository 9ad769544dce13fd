"""A run's weights with their card: in a folder they are judged again, and what the hub refuses is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from avbench import cli

CLIPS = ["data.train_clips=16", "data.test_clips=8", "train.batch_size=8", "train.steps=2", "train.workers=0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The results folder and the record of a short pretraining on the embedded set."""
    results = tmp_path_factory.mktemp("pushed") / "results"
    words = ["--method", "cav", "--task", "retrieval", "--results", str(results), "--set", *CLIPS]
    assert cli.main(["run", *words, "--skip-untrained"]) == 0
    (path,) = results.glob("runs/*/record.json")
    return results, json.loads(path.read_text())


def test_a_folder_holds_weights_card_and_record(run: tuple[Path, dict], tmp_path: Path) -> None:
    results, record = run
    words = ["checkpoint", "push", record["id"], "me/small", "--results", str(results), "--out", str(tmp_path / "card")]
    assert cli.main(words) == 0
    text = (tmp_path / "card" / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: avbench\n")
    assert "avbench evaluate --method cav --checkpoint hf:me/small/model.safetensors --task retrieval" in text
    assert f"| a2v/R@1 | {100 * record['metrics']['a2v/R@1']:.2f} % |" in text
    assert "| judged clips seen in training | 0 |" in text
    again = ["evaluate", "--method", "cav", "--checkpoint", str(tmp_path / "card" / "model.safetensors")]
    again += ["--task", "retrieval", "--results", str(tmp_path / "again"), "--set", *CLIPS[:2], "data.split=test"]
    assert cli.main(again) == 0
    (path,) = (tmp_path / "again").glob("runs/*/record.json")
    assert json.loads(path.read_text())["metrics"] == record["metrics"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none", "me/small"], "none: no such run in"),
        (["ID", "small"], "small: found no repository, valid: OWNER/NAME"),
    ],
)
def test_what_cannot_be_pushed_is_refused(
    run: tuple[Path, dict], capsys: pytest.CaptureFixture, words: list[str], said: str
) -> None:
    results, record = run
    given = [record["id"] if word == "ID" else word for word in words]
    assert cli.main(["checkpoint", "push", *given, "--results", str(results)]) == 2
    assert said in capsys.readouterr().err


def test_without_a_network_the_hub_takes_nothing(
    run: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    results, record = run
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main(["checkpoint", "push", record["id"], "me/small", "--results", str(results)]) == 1
    error = capsys.readouterr().err
    assert "me/small: the hub did not take it" in error
    assert len(error.strip().splitlines()) == 1

"""``avbench list``: settings in words, and the runs that are asked for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.commands.settings import SECTIONS, settings
from avbench.store.records import run_folder

RECORDS = [
    ("cav", "retrieval", "soundshapes"),
    ("cavmae", "retrieval", "soundshapes"),
    ("cavmae", "linear_probe", "ave"),
]


def test_every_setting_says_what_it_is_once() -> None:
    found = settings()
    assert len(set(found)) == len(found)
    for section, cls in SECTIONS.items():
        assert [each.key for each in settings(section)] == [f"{section}.{f.name}" for f in dataclasses.fields(cls)]
    assert all(each.meaning and each.valid and each.default for each in found)


def test_a_part_can_be_asked_for() -> None:
    assert {each.key for each in settings("lambda_c")} == {"method.lambda_c"}
    assert [each.owners for each in settings("lambda_c")] == [("cav",), ("cavmae", "cavmae_sync")]
    (rate,) = settings("train.lr")
    assert (rate.valid, rate.default, rate.meaning) == ("a number, above 0", "5e-05", "base learning rate")
    assert (
        {each.owners for each in settings("retrieval")}
        == {("retrieval",)}
        == {e.owners for e in settings("task.retrieval")}
    )
    assert {each.key for each in settings("train.decay")} == {
        "train.decay_start",
        "train.decay_every",
        "train.decay_rate",
    }


def test_settings_of_a_run_are_listed_without_torch() -> None:
    code = (
        "import sys; from avbench.cli import main; main(['list', 'settings', 'train']); print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.endswith("\nFalse\n")
    assert "train.accumulate = 1\n    forward passes per optimiser step" in answer.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["settings", "lamda_c"], "unknown setting 'lamda_c'. Did you mean 'lambda_c'?"),
        (["methods", "cav"], "list methods: found 'cav', valid: no name"),
        (["methods", "--task", "retrieval"], "--task: found with list methods, valid: with list runs"),
    ],
)
def test_what_cannot_be_listed_is_refused(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words]) == 2
    assert expected in capsys.readouterr().err


_SAME = {
    "split": "test",
    "precision": "fp32",
    "seed": 0,
    "n": 8,
    "metrics": {},
    "config": {},
    "ids_sha256": "",
    "data_sha256": "",
}


def test_runs_are_listed_by_method_task_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from avbench.files import write_json
    from avbench.store.records import SCHEMA

    for number, (method, task, data) in enumerate(RECORDS):
        run_id = f"{number:016x}"
        facts = {"id": run_id, "schema": SCHEMA, "method": method, "task": task, "data": data, "weights": "pretrained"}
        write_json(
            run_folder(tmp_path, run_id) / "record.json",
            {**facts, **_SAME, "created": f"{number}"},
        )

    def listed(*words: str) -> list[str]:
        assert main(["list", "runs", "--results", str(tmp_path), *words]) == 0
        return [line.split()[0][-1] for line in capsys.readouterr().out.splitlines()]

    assert listed() == ["0", "1", "2"]
    assert listed("--method", "cavmae") == ["1", "2"] == listed("--methods", "cavmae")
    assert listed("--method", "cavmae", "--task", "retrieval") == ["1"]
    assert main(["list", "runs", "--results", str(tmp_path), "--data", "ave", "--weights", "untrained"]) == 0
    none = capsys.readouterr()
    assert (none.out, none.err) == ("", f"{tmp_path}: none of its 3 runs is as asked for.\n")


def test_a_folder_without_runs_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert main(["list", "runs", "--results", str(folder)]) == 0
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err == f"{folder}: no runs are recorded there; --results names the folder of those to list.\n"


def test_a_prepared_set_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path))
    (tmp_path / "sets" / "ave").mkdir(parents=True)
    (tmp_path / "sets" / "ave" / "manifest.parquet").touch()
    assert main(["list", "data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "[prepared here: " in line] == ["ave"]

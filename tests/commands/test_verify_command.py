"""``avbench verify`` finds any change of what a run left, and says what computes it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from avbench.cli import main
from avbench.store import seal

SMALL = ["--set", "data.train_clips=8", "data.test_clips=8", "train.batch_size=4", "train.steps=2", "train.workers=0"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        words = ["run", "--method", "cavmae", "--skip-untrained", *SMALL, "train.checkpoint_seconds=0.001"]
        assert main([*words, "--results", str(folder / "results")]) == 0
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(seal, "_compared", set())
    return tmp_path / "results"


def test_a_whole_folder_has_no_problem(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    assert main(["verify", str(results)]) == 0
    told = capsys.readouterr().out
    assert "1 records, 2 stages" in told
    assert "1 prepared folders" in told
    assert "0 problems" in told
    assert "noted no hashes" not in told
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


def test_a_bit_of_any_file_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = [*results.rglob("*.json"), *results.rglob("*.np[yz]"), *results.rglob("*.safetensors")]
    own += [*results.rglob("metrics.csv"), *(results.parent / "cache").glob("prepared/*/shards/*.tar")]
    assert len({path.name for path in own}) >= 14
    missed, draw = [], np.random.default_rng(0)
    for path in own:
        data = path.read_bytes()
        changed = bytearray(data)
        # In the second half, where values are: of an archive's directory a bit may be a date, of a tar a padding.
        changed[int(draw.integers(len(data) // 3, len(data) // 2))] ^= 1 << int(draw.integers(7))
        path.write_bytes(changed)
        status, told = main(["verify", str(results)]), capsys.readouterr().out
        if status != 1 or (path.name not in told and path.parent.name not in told):
            missed.append((str(path), status, told))
        path.write_bytes(data)
    assert not missed


def test_it_names_the_runs_that_compute_it_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights,) = results.glob("stages/pretrain/*/weights.safetensors")
    (record,) = results.glob("runs/[!.]*")
    weights.write_bytes(b"")
    assert main(["verify", str(results), "--no-data"]) == 1
    told = capsys.readouterr().out
    assert f"{weights}: is not what was written" in told
    assert f"The command of run {record.name} (cavmae retrieval seed 0) computes it again." in told


def test_what_has_no_hashes_is_counted(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = results.glob("runs/*/record.json")
    lines = record.read_text().splitlines(keepends=True)
    assert lines.pop(1).startswith('  "seal"')
    record.write_text("".join(lines))
    assert main(["verify", str(results), "--no-data"]) == 0
    assert "1 of these are of a version that noted no hashes" in capsys.readouterr().out


def test_where_no_results_are_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "none")]) == 2
    assert "found no folder, valid: a results folder" in capsys.readouterr().err

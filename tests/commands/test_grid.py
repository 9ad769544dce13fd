"""``avbench grid`` on a handful of generated clips: what it runs, leaves out, skips and reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.launch.grid import expand
from avbench.store.records import all_records, run_folder

SMALL = ["--set", "data.train_clips=16", "data.test_clips=8", "train.batch_size=8", "train.steps=2", "train.workers=0"]
GRID = ["grid", "--methods", "audiomae", "cav", "--seeds", "0", "1", *SMALL]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a grid of one method that can retrieve and one that cannot."""
    results = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(results / "cache"))
        assert main([*GRID, "--jobs", "2", "--results", str(results)]) == 0
    return results


@pytest.fixture(autouse=True)
def use_cache(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(grid / "cache"))


def test_all_expands_and_leaves_out_with_the_reason() -> None:
    cells = expand(["all"], ["retrieval"])
    assert set(cells.tasks) == {"avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae"}
    assert len(cells.left_out) == 2
    assert "it takes audio only" in cells.left_out[0]


def test_each_method_and_seed_is_recorded_with_its_untrained_model(grid: Path) -> None:
    found = {(r["method"], r["seed"], r["weights"]) for r in all_records(grid)}
    assert found == {("cav", seed, weights) for seed in (0, 1) for weights in ("pretrained", "untrained")}
    assert {path.name for path in (grid / "logs").iterdir()} == {"cav-seed0.log", "cav-seed1.log"}


def test_what_is_done_is_not_run_again(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in grid.rglob("*")}
    assert main([*GRID, "--results", str(grid)]) == 0
    assert {path: path.stat().st_mtime_ns for path in grid.rglob("*")} == before
    output = capsys.readouterr()
    assert "everything is done already" in output.err
    assert "left out: method 'audiomae' cannot do task 'retrieval'" in output.err
    assert "seeds 0 1" in output.out
    assert "±" in output.out


def test_a_run_that_fails_is_named_and_the_others_go_on(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # An extraction that cannot be written stops what needs it, and nothing else.
    (record,) = [r for r in all_records(grid) if (r["seed"], r["weights"]) == (1, "pretrained")]
    (extracted,) = record["stages"]["vectors"]
    shutil.rmtree(grid / "stages" / "vectors" / extracted)
    (grid / "stages" / "vectors" / extracted).write_bytes(b"in the way")
    for record in list(all_records(grid)):
        if record["weights"] == "pretrained":
            run = run_folder(grid, record["id"])
            run.rename(run.with_name(f".{run.name}"))
    assert main([*GRID, "--jobs", "2", "--results", str(grid)]) == 1
    output = capsys.readouterr()
    assert "[2/2]" in output.err
    assert "failed: cav seed 1: " in output.err
    assert {r["seed"] for r in all_records(grid) if r["weights"] == "pretrained"} == {0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--methods", "cavmea"], "Did you mean 'cavmae'?"),
        (["--methods", "audiomae"], "found nothing that can be done"),
        (["--tasks", "retreival"], "Did you mean 'retrieval'?"),
        (["--jobs", "-1"], "--jobs: found -1"),
    ],
)
def test_bad_input_starts_nothing(
    tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grid", *words, "--results", str(tmp_path / "results")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "results").exists()

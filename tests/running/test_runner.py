"""The whole path on a handful of generated clips: run, reuse, resume, and what a change recomputes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import avbench
from avbench.cli import main
from avbench.running import pretraining
from avbench.running.runner import why
from avbench.store.records import all_records, read_per_sample

# Small enough for seconds, real in every part: mp4 files, shards, training, features, ranks, records.
SMALL = ["--set", "data.train_clips=24", "data.test_clips=16", "train.batch_size=8", "train.steps=6", "train.workers=0"]
RUN = ["run", "--method", "cavmae", "--task", "retrieval", *SMALL]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(cache))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Results of one run of two seeds."""
    results = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(cache))
        assert main([*RUN, "--seeds", "0", "1", "--results", str(results)]) == 0
    return results


def records(results: Path) -> dict[tuple[str, int], dict[str, object]]:
    return {(str(r["weights"]), int(r["seed"])): r for r in all_records(results)}


def test_a_record_counts_the_pretraining_behind_an_extraction_that_was_done(finished: Path) -> None:
    before = records(finished)["pretrained", 0]
    folder = finished / "runs" / str(before["id"])
    folder.rename(folder.with_name(f".{folder.name}"))
    assert main([*RUN, "--results", str(finished)]) == 0
    after = records(finished)["pretrained", 0]
    assert after["stages"] == before["stages"]
    assert after["wall_s"]["pretrain"] == before["wall_s"]["pretrain"]  # type: ignore[index]


def test_a_run_leaves_records_with_provenance_and_per_query_ranks(finished: Path) -> None:
    found = records(finished)
    assert set(found) == {("untrained", 0), ("pretrained", 0), ("untrained", 1), ("pretrained", 1)}
    record = found["pretrained", 0]
    assert record["n"] == 16
    assert record["chance"]["a2v/R@1"] == 1 / 16  # type: ignore[index]
    for key in ("config", "git", "versions", "hardware", "wall_s", "device_hours", "ids_sha256", "code_sha256", "ci95"):
        assert record[key], key
    per_sample = read_per_sample(finished, str(record["id"]))
    ranks = per_sample["a2v_rank"]
    assert len(per_sample["id"]) == len(ranks) == 16
    assert record["metrics"]["a2v/R@5"] == np.mean(ranks <= 5)  # type: ignore[index]


def test_the_same_command_again_computes_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert main([*RUN, "--seeds", "0", "1", "--results", str(finished)]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    text = capsys.readouterr().out
    assert text.count("reused, nothing computed") == 4
    assert "chance" in text
    assert "cavmae (untrained)" in text


def test_a_run_that_is_recorded_is_found_without_torch(finished: Path) -> None:
    heavy = ("torch", "pandas", "pyarrow.dataset", "sympy", "av", "PIL")
    words = [*RUN, "--device", "cpu", "--seeds", "0", "1", "--results", str(finished)]
    code = f"import sys; from avbench.cli import main; main({words!r}); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("(reused, nothing computed)") == 4
    assert done.stdout.splitlines()[-1] == "[]"


def test_another_lambda_trains_again_and_leaves_the_untrained_model_alone(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(finished.rglob("*"))
    assert main([*RUN, "method.lambda_c=0.5", "--dry-run", "--results", str(finished)]) == 0
    plan = capsys.readouterr().out
    assert sorted(finished.rglob("*")) == before
    assert "6 steps of 8 clips" in plan
    assert main([*RUN, "train.log_every=3", "--dry-run", "--results", str(finished)]) == 0
    assert capsys.readouterr().out.count("done, reused") == 3


def test_the_second_task_option_reuses_the_features(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "task.resamples=10", "--dry-run", "--results", str(finished)]) == 0
    plan = capsys.readouterr().out.splitlines()
    assert [line.endswith("done, reused") for line in plan[1:-1]] == [True, True, False]
    assert plan[-1].startswith("cost: about 0.00 device-hours (2 evaluations")


def test_equal_seeds_give_equal_numbers_and_others_do_not(finished: Path, tmp_path: Path) -> None:
    again = avbench.run(
        "cavmae",
        settings={
            "data.train_clips": 24,
            "data.test_clips": 16,
            "train.batch_size": 8,
            "train.steps": 6,
            "train.workers": 1,
        },
        results=tmp_path,
    )
    found = records(finished)
    assert [record["id"] for record in again] == [found[name, 0]["id"] for name in ("untrained", "pretrained")]
    assert again[1]["metrics"] == found["pretrained", 0]["metrics"]
    ranks = [read_per_sample(finished, str(found["pretrained", seed]["id"]))["a2v_rank"] for seed in (0, 1)]
    assert not np.array_equal(*ranks)


def test_results_is_a_long_table(finished: Path) -> None:
    table = avbench.results(finished)
    assert set(table["weights"]) == {"untrained", "pretrained"}
    assert len(table[table["metric"] == "v2a/R@10"]) == 4


def test_killed_in_training_and_started_again_ends_with_the_same_weights(finished: Path, tmp_path: Path) -> None:
    words = [*RUN, "train.checkpoint_seconds=0.001", "--results", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "avbench", *words], stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("stages/pretrain/*/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not records(tmp_path).get(("pretrained", 0))

    assert main(words) == 0

    (resumed,) = tmp_path.glob("stages/pretrain/*/weights.safetensors")
    whole = finished / resumed.relative_to(tmp_path)
    assert resumed.read_bytes() == whole.read_bytes()
    assert records(tmp_path)["pretrained", 0]["metrics"] == records(finished)["pretrained", 0]["metrics"]


def test_features_and_evaluate_from_the_checkpoint_agree_with_the_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = records(finished)["pretrained", 0]
    weights = finished / "stages" / "pretrain" / record["stages"]["pretrain"][0] / "weights.safetensors"  # type: ignore[index]
    out = tmp_path / "features.npz"
    words = ["--method", "cavmae", "--checkpoint", str(weights), "--data", "soundshapes", *SMALL[:3]]
    assert main(["features", *words, "--out", str(out), "--results", str(tmp_path)]) == 0
    assert "42 clips" in capsys.readouterr().out  # of every split
    assert main(["features", *words, "data.split=test", "--out", str(out), "--results", str(tmp_path)]) == 0
    capsys.readouterr()
    words = ["--features", str(out), "--results", str(tmp_path), "--format", "json"]
    assert main(["evaluate", "--task", "retrieval", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["metrics"] == record["metrics"]
    assert answer["ids_sha256"] == record["ids_sha256"]
    assert answer["n"] == 16


def test_a_failed_run_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*RUN, "train.lr=1e30", "train.clip_norm=0", "train.steps=20", "--results", str(tmp_path)]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "failed: cavmae retrieval seed 0 (pretrained)" in captured.err
    assert "step" in captured.err
    assert ("untrained", 0) in records(tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee elsewhere"),
            "out of memory",
        ),
        (MemoryError(), "out of memory"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_run_that_finds_no_memory_or_disk_leaves_the_others_going(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pretraining, "compute", fail)
    words = [*RUN, "method.lambda_c=0.25", "--seeds", "2", "0", "--results", str(finished)]
    assert main(words) == 1
    failures = capsys.readouterr().err.splitlines()
    failures = [line for line in failures if line.startswith("failed: ")]
    assert [line.split(":")[1].strip() for line in failures] == [
        "cavmae retrieval seed 2 (pretrained)",
        "cavmae retrieval seed 0 (pretrained)",
    ]
    assert all(said in line for line in failures)
    assert ("untrained", 2) in records(finished)
    assert main(["pretrain", "--method", "cavmae", *SMALL, "train.lr=2e-4", "--results", str(finished)]) == 1
    assert said in capsys.readouterr().err


def test_what_is_a_fault_of_the_program_is_no_failure_of_a_run() -> None:
    assert why(RuntimeError("shapes differ")) is None
    assert why(KeyError("x")) is None


def test_a_method_without_tasks_can_be_pretrained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--method", "visualmae", *SMALL, "--results", str(tmp_path)]) == 0
    weights = Path(capsys.readouterr().out.removeprefix("weights: ").strip())
    assert weights.is_file()
    assert main(["pretrain", "--method", "visualmae", *SMALL, "--dry-run", "--results", str(tmp_path)]) == 0
    assert "done, reused" in capsys.readouterr().out


def test_every_method_that_can_runs_retrieval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = ["cav", "avmae", "vanilla_avmae", "cavmae_sync"]
    assert main([*RUN[:1], "--method", *methods, "--task", "retrieval", *SMALL, "--results", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert all(f"{name} (untrained)" in table for name in methods)


def test_force_reaches_what_a_task_keeps(tmp_path: Path) -> None:
    sets = [*SMALL, "task.steps=2", "task.batch_size=8", "task.average_from=0"]
    words = ["run", "--method", "cavmae", "--task", "classification", *sets, "--results", str(tmp_path)]
    assert main(words) == 0
    kept = sorted(tmp_path.glob("stages/finetune/*/finetuned.safetensors"))
    assert kept
    before = [path.stat().st_mtime_ns for path in kept]
    (kept[0].parent / "left_over").touch()
    assert main([*words, "--force"]) == 0
    assert all(path.stat().st_mtime_ns > time_ns for path, time_ns in zip(kept, before, strict=True))
    assert not (kept[0].parent / "left_over").exists()

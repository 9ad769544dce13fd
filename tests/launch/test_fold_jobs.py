"""All folds of a set on a cluster: which jobs are submitted, and what they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from esc50_sounds import ENCODER, esc50
from slurm_cluster import Cluster
from test_slurm import Place

from avbench.cli import main
from avbench.commands import launching
from avbench.launch import planner
from avbench.launch.job import Job
from avbench.launch.planner import Wanted
from avbench.launch.profile import Profile
from avbench.running.options import ConfigOptions
from avbench.running.runner import Execution, Runner
from avbench.store.records import all_records


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[Job]:
    """Prepares ESC-50's look-alike and returns what is submitted from then on."""
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    assert main(["data", "prepare", "esc50", "--root", str(esc50(tmp_path / "ESC-50")), "--workers", "1"]) == 0
    capsys.readouterr()
    found: list[Job] = []

    def submit(jobs: list[Job], *_: Any) -> int:
        found.extend(jobs)
        return 0

    monkeypatch.setattr(launching, "open_profile", lambda name: Profile())
    monkeypatch.setattr(launching, "submit", submit)
    return found


@pytest.mark.slurm
def test_a_cluster_judges_all_folds(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(slurm, tmp_path / "cache", tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    assert main(["data", "prepare", "esc50", "--root", str(esc50(tmp_path / "ESC-50")), "--workers", "1"]) == 0
    (tmp_path / "ear.py").write_text(ENCODER)
    own = ["run", "--encoder", f"{tmp_path / 'ear.py'}:Ear", "--task", "knn", "--data", "esc50", "--folds"]
    first = place.run(*own, "--set", "task.k=1")
    assert first.returncode == 0, first.stderr
    assert "1 jobs submitted" in first.stdout
    place.finish()
    assert place.states() == ["done"]
    assert sorted(record["split"] for record in all_records(place.results)) == ["folds"] + ["test"] * 5
    again = place.run(*own, "--set", "task.k=1")
    assert "audio/top1: mean over 5 folds 0.9000 (1.0000, 1.0000, 0.5000, 1.0000, 1.0000)" in again.stdout


def words(folder: Path, *more: str) -> list[str]:
    return ["run", *more, "--data", "esc50", "--folds", "--results", str(folder / "r"), "--launcher", "slurm"]


def test_all_folds_are_one_job_that_judges_them_together(
    tmp_path: Path, submitted: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ear.py").write_text(ENCODER)
    own = words(tmp_path, "--encoder", f"{tmp_path / 'ear.py'}:Ear", "--task", "knn", "class_retrieval")
    assert main(own) == 0
    assert [(job.kind, len(job.makes)) for job in submitted] == [("knn", 5 + 1), ("class_retrieval", 5)]
    for job in submitted:
        assert main(list(job.arguments)) == 0
        assert all((tmp_path / "r" / folder / "record.json").is_file() for folder in job.makes)
    assert len(list(all_records(tmp_path / "r"))) == 5 + 1 + 5
    wanted = Wanted(
        methods=(f"{tmp_path / 'ear.py'}:Ear",),
        tasks=("knn",),
        options=ConfigOptions(data="esc50", device="cpu", results=tmp_path / "r"),
        folds=True,
    )
    found = planner.records(wanted, Runner(Execution(results=tmp_path / "r")))
    assert [record and record["split"] for record in found] == ["test"] * 5 + ["folds"]
    submitted.clear()
    capsys.readouterr()
    assert main(own) == 0
    assert submitted == []
    assert "audio/top1: mean over 5 folds" in capsys.readouterr().out


def test_what_pretrains_on_each_fold_does_so_in_jobs_of_their_own(tmp_path: Path, submitted: list[Job]) -> None:
    own = words(tmp_path, "--method", "audiomae", "--task", "knn", "--set", "train.batch_size=4", "train.steps=1")
    assert main(own) == 0
    *trained, judged = submitted
    folds = [next(word for word in job.arguments if word.startswith("data.fold=")) for job in trained]
    assert folds == [f"data.fold={fold}" for fold in range(1, 6)]
    assert judged.needs == tuple(job.makes[0] for job in trained)
    assert len(judged.makes) == 2 * (5 + 1)  # with the untrained model
    assert "--folds" in judged.arguments
    assert len({job.name for job in trained}) == 5

"""Tasks that ask for their model on changed clips: each change is a stage; anybody's encoder does them, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avbench.cli import main
from avbench.data.corpus.changed import Change
from avbench.errors import InputError, RunError
from avbench.running import extraction
from avbench.running.execution import Execution
from avbench.running.identity import Extraction
from avbench.running.request import Request
from avbench.running.runner import Runner
from avbench.running.subject import ReadySubject
from avbench.store.records import all_records

SMALL = ("data.train_clips=8", "data.test_clips=8", "task.resamples=10")
LOUDNESS = """
import avbench, torch

class Loudness(avbench.Encoder):
    sample_rate, seconds, frames = 16_000, 10.0, 2

    def load(self, device, checkpoint=None): ...
    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean(), w[: len(w) // 2].std()]) for w in waves])
    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2)) for f in frames])
"""


def test_anybodys_encoder_is_moved_and_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loudness.py").write_text(LOUDNESS)
    options = {"offset": ("task.range=0.5", "task.offsets=3"), "corruption": ("task.severities=[5]",)}
    for task, more in options.items():
        sets = [word for text in (*SMALL, *more) for word in ("--set", text)]
        assert main(["run", "--encoder", "loudness.py:Loudness", "--task", task, "--data", "soundshapes", *sets]) == 0
    found = {each["task"]: each["metrics"] for each in all_records(tmp_path / "results")}
    assert found["offset"]["+0 s/cosine"] != found["offset"]["+0.5 s/cosine"]
    assert found["corruption"]["clean/a2v/mean_rank"] > 0


def test_a_task_that_names_no_changes_may_not_ask(tmp_path: Path) -> None:
    execution = Execution(results=tmp_path, progress=False)
    runner = Runner(execution)
    (config,) = runner.resolve_all(
        [Request(method="cavmae", data="soundshapes", sets=("train.batch_size=4", "train.steps=1", *SMALL))]
    )
    subject = ReadySubject(runner.plans(config)[0], execution)
    with pytest.raises(InputError, match=r"asks for 'changed vectors', valid: what it needs by its card"):
        subject.on(Change()).embeddings()


def run(results: Path, task: str, *sets: str) -> int:
    words = [word for text in ("train.batch_size=4", "train.steps=1", *SMALL, *sets) for word in ("--set", text)]
    where = ["--data", "soundshapes", "--results", str(results), "--skip-untrained"]
    return main(["run", "--method", "cavmae", "--task", task, *where, *words])


def test_what_a_stopped_run_computed_is_there_for_the_next_and_for_other_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = ("task.corruptions=[blur, clipping]", "task.severities=[2, 4]")
    computed: list[str] = []
    extract = extraction.compute

    def stopped(stage: Extraction, work: Execution) -> Any:
        if len(computed) == 3:
            raise RunError("stopped")
        computed.append(str(stage.change))
        return extract(stage, work)

    monkeypatch.setattr(extraction, "compute", stopped)
    assert run(tmp_path, "corruption", *conditions) == 1
    assert computed == ["None", "blur@2", "blur@4"]
    monkeypatch.setattr(extraction, "compute", lambda *words: computed.append(str(words[0].change)) or extract(*words))
    assert run(tmp_path, "corruption", *conditions) == 0
    assert computed[3:] == ["clipping@2", "clipping@4"]
    assert run(tmp_path, "corruption", *conditions, "task.measure=knn") == 0
    assert computed[5:] == ["None"]  # the training clips
    retrieval, knn = sorted(all_records(tmp_path), key=lambda each: len(each["stages"]["vectors"]))
    assert set(retrieval["stages"]["vectors"]) < set(knn["stages"]["vectors"])


def test_what_killed_runs_of_earlier_versions_left_goes(tmp_path: Path) -> None:
    sets = ("task.range=0.5", "task.offsets=3")
    runner = Runner(Execution(results=tmp_path, progress=False))
    words = ("train.batch_size=4", "train.steps=1", *SMALL, *sets)
    (config,) = runner.resolve_all([Request(method="cavmae", task="offset", data="soundshapes", sets=words)])
    left = ReadySubject(runner.plans(config)[-1], runner.execution).folder / ".changed-abc"
    (left / "parts").mkdir(parents=True)
    assert run(tmp_path, "offset", *sets) == 0
    assert not left.exists()

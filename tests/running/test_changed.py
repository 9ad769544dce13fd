"""Tasks that ask for their model on changed clips: anybody's encoder does them, too; others may not ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.cli import main
from avbench.errors import InputError
from avbench.running.execution import Execution
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


def test_only_a_task_that_says_so_may_ask(tmp_path: Path) -> None:
    execution = Execution(results=tmp_path, progress=False)
    runner = Runner(execution)
    (config,) = runner.resolve_all(
        [Request(method="cavmae", data="soundshapes", sets=("train.batch_size=4", "train.steps=1", *SMALL))]
    )
    subject = ReadySubject(runner.plans(config)[0], execution)
    with pytest.raises(InputError, match=r"asks for 'other clips', valid: what it needs by its card"):
        subject.on(subject.evaluated)

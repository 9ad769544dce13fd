"""The commands that are tormented: small in size, real in every part."""

from __future__ import annotations

from pathlib import Path

CLIPS = ["data.train_clips=8", "data.test_clips=8", "train.workers=0"]
SMALL = ["--set", *CLIPS, "train.batch_size=4", "train.steps=3", "train.checkpoint_seconds=0.001"]
RUN = ["run", "--method", "cavmae", "--skip-untrained", *SMALL]
_TUNED = ["task.steps=4", "task.batch_size=4", "task.average_from=1", "task.average_to=2"]
FINETUNE = ["run", "--method", "cavmae", "--task", "classification", "--skip-untrained", *SMALL, *_TUNED]
COMMANDS = {
    "run": RUN,
    "best": [*RUN, "train.select=best"],
    "finetune": FINETUNE,
    "processes": [*RUN[:1], "--processes", "2", *RUN[1:], "data.test_clips=130"],
}
LISTS = (["status"], ["list", "runs"], ["tables", "--cost"], ["report"])
FINISHED = (RUN, FINETUNE, *LISTS)

SWEEP = """summary: weight of the contrastive loss
method: cavmae
task: retrieval
space:
  method.lambda_c: {values: [0.01, 0.1], log: true}
objectives:
  retrieval a2v/R@5: maximize
"""


def prepare(videos: Path, out: Path) -> list[str]:
    """Returns the words that prepare clips in parts of four."""
    return ["data", "prepare", str(videos), "--out", str(out), "--workers", "1", "--size", "32", "--n-frames", "2"]

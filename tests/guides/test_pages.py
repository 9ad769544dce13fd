"""The commands of the other pages, run as they stand where what they name is there; what takes long runs small.

What cannot be here is parsed by tests/test_docs.py alone: a cluster, and the public data sets.
"""

from __future__ import annotations

import csv
import shlex
import shutil
from pathlib import Path

import pytest
from test_docs import ROOT, shell_lines
from test_start import HEADS, SMALL, avbench, published

ELSEWHERE = {  # parts of words of commands that need what cannot be here
    "cuda": "a GPU; tests/training/test_on_gpu.py",
    "slurm": "tests/launch starts a cluster",
    "--watch": "it ends when jobs do",
    "vggsound": "public media",
    "AVE": "public media; tests/tasks/test_event_localization.py",
    "esc50": "tests/data/test_one_modality_sets.py",
    "SOUNDS": "tests/running/test_one_modality_runs.py",
    "VIDEOS": "tests/running/test_one_modality_runs.py",
    "audioset-20k": "public media",
    "is3": "public media",
    "vggss.json": "public annotations",
    "vggsounder.csv": "public annotations",
    "imagenet-mae": "weights of others",
    "finetune-audioset20k-av": "a recipe for AudioSet",
    "train.json": "two sets in the authors' layout; tests/running/test_division.py",
    "my_sweep.yaml": "a file of the reader's",
    "--window": "the clips here are shorter than ten seconds",
    "task.range=1": "the same",
    "--launch": "tests/commands/test_tables_launch.py",
    "RESULTS/": "a model of the reader's; tests/running/test_prediction.py",
    "STUDY": "the study takes more than an hour",
    "FILE.py:Class": "docs/guides/encoder.md is followed by tests/guides",
    "PACKAGE:Class": "the same",
    "OWNER/NAME": "a run with weights, which one is not known; tests/commands/test_checkpoint_push.py",
}
COMMANDS = {
    page.stem: [line for line in shell_lines(page) if line.startswith("avbench ") and "..." not in line]
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the pages name, under the names they use."""
    made = tmp_path_factory.mktemp("pages")
    avbench(["data", "make", "soundshapes", "--out", "FOLDER", "--clips", "30"], made)
    shutil.copy(made / "FOLDER" / "videos" / "test_000000.mp4", made / "a.mp4")
    shutil.copy(made / "a.mp4", made / "b.mp4")
    published(made)
    weights = made / "audio_model.21.pth"
    for name in ("audio_model.25.pth", "cav-mae-scale++.pth", "FILE", "F"):
        shutil.copy(weights, made / name)
    words = ["--method", "cavmae", "--checkpoint", weights.name, "--data", "FOLDER"]
    for name in ("anyones.npz", "X.npz"):
        avbench(["features", *words, "--out", name], made)
    avbench(["run", "--method", "cav", "cavmae", "--task", "retrieval", *SMALL], made)
    avbench(["run", "--method", "cavmae", "--task", "reconstruction", *SMALL], made)
    (pretrained,) = (made / "before").glob("stages/pretrain/*/weights.safetensors")
    shutil.copy(pretrained, made / "weights.safetensors")
    pretrainings = made / "results" / "stages" / "pretrain"
    before = set(pretrainings.iterdir())
    avbench(["pretrain", "--method", "cavmae_sync", *SMALL], made)
    (sync,) = set(pretrainings.iterdir()) - before
    (made / "ID").write_text(sync.name, encoding="utf-8")
    with (made / "FOLDER" / "labels.csv").open(encoding="utf-8") as file:
        rows = [(Path(row["file"]).stem, row["label"], row["split"]) for row in csv.DictReader(file)]
    lines = ["id,label,split", *(f"{name},{label},{split}" for name, label, split in rows)]
    (made / "L.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def small(words: list[str], folder: Path) -> list[str]:
    """Returns a command in a form that takes seconds, with ids of the folder's runs."""
    runs = iter(sorted(path.parent.name for path in (folder / "results" / "runs").glob("*/record.json")))
    sync = (folder / "ID").read_text(encoding="utf-8")
    words = [sync if word == "ID" else next(runs) if word == "RUN" else word for word in words if word[0] != "["]
    words = ["results" if word == "RESULTS" else word for word in words]
    if "0" in words and "--seeds" in words:
        words = [word for word in words if word not in ("1", "2")]
    if words[0] in ("run", "grid", "pretrain") and "--preset" not in words:
        words += SMALL
    if "FILE" in words or "audio_model.25.pth" in words:
        words += ["--set", *HEADS] if words[0] == "pretrain" else []
    if words[0] == "sweep" or ("all" in words and "--dry-run" not in words):
        words = [word for word in words if word not in SMALL] + ["--dry-run"]
    return words


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, lines in COMMANDS.items() if lines])
def test_the_commands_of_a_page_run(page: str, folder: Path) -> None:
    shutil.rmtree(folder / "DIR", ignore_errors=True)
    shutil.copytree(folder / "results", folder / "DIR")
    for line in COMMANDS[page]:
        words = shlex.split(line, comments=True)[1:]
        if any(part in word for word in words for part in ELSEWHERE):
            continue
        for made in ("PREPARED", "DIR"):  # by an earlier command, from other data
            if words[0] == "data" and made in words and words[words.index(made) - 1] == "--out":
                shutil.rmtree(folder / made, ignore_errors=True)
        avbench(small(words, folder), folder)

"""The typical mistakes of the first hour, typed into an empty folder: one line with the fix, nothing written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avbench.cli import main

RUN = ["run", "--method", "cavmae", "--task", "retrieval", "--preset", "smoke"]
SMALL = ["--set", "data.train_clips=64", "data.test_clips=16"]
MISTAKES = [
    # The wrong folder: nothing of earlier runs is here.
    (["report"], "results: found no records; avbench run writes them."),
    (["figures"], "--results results: found no records"),
    (["tables"], "--results results: found no such folder, valid: one with records"),
    (["compare", "a", "b"], "see: avbench list runs"),
    ([*RUN, "--data", "clips"], "--data clips: no such name, file or folder."),
    # No checkpoint where one is named or needed, and a file or folder for the other.
    (
        [*RUN, "--checkpoint", "w.pth"],
        "--checkpoint w.pth: no such file; valid: the path of a .pth or .safetensors file.",
    ),
    ([*RUN, "--checkpoint", "."], "--checkpoint .: found a folder; valid: the path of a .pth or .safetensors file."),
    (["predict", "note.txt"], "found no --checkpoint, valid: --checkpoint FILE"),
    (["predict", "a.mp4", "--checkpoint", "w.pth"], "a.mp4: no such file; valid: a video or a sound."),
    (["predict", ".", "--checkpoint", "w.pth"], ".: found a folder; valid: a video or a sound."),
    (["checkpoint", "inspect", "note.txt"], "valid: a .pth or .safetensors file"),
    (["evaluate", "--task", "retrieval", "--features", "."], ".: found a folder; valid: an .npz"),
    ([*RUN, "--data", "note.txt"], "note.txt: found a file that is not .csv, valid: a folder of videos"),
    ([*RUN, "--results", "note.txt"], "--results note.txt: found a file, valid: a folder"),
    (["data", "verify", "."], "found no prepare.json, valid: a prepared folder"),
    # Typos.
    (["rnu"], "unknown command 'rnu'. Did you mean 'run'?"),
    (["run", "--metod", "cavmae"], "unknown option --metod. Did you mean '--method'? See: avbench run --help"),
    (["tables", "--formt", "csv"], "unknown option --formt. Did you mean '--format'? See: avbench tables --help"),
    ([*RUN, "--devic=cpu"], "unknown option --devic. Did you mean '--device'?"),
    (["report", "here"], "unexpected word 'here'. See: avbench report --help"),
    ([*RUN, "--seeds", "x"], "--seeds: found 'x', valid: whole numbers. See: avbench run --help"),
    (["run", "--method", "cavmea", "--task", "retrieval"], "Did you mean 'cavmae'?"),
    (["run", "--method", "cavmae", "--task", "retreival"], "Did you mean 'retrieval'?"),
    (
        [*RUN, "--set", "masking_ratoi=0.5"],
        "unknown setting 'masking_ratoi'. Did you mean 'masking_ratio'? See: avbench list settings.",
    ),
    ([*RUN, "--set", "data.train_clip=3"], "unknown key 'data.train_clip'. Did you mean 'train_clips'?"),
    ([*RUN, "--data", "sondshapes"], "Did you mean 'soundshapes'?"),
    ([*RUN, "--preset", "smok"], "Did you mean 'smoke'?"),
]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=lambda value: " ".join(value)[:60])
def test_a_mistake_costs_one_line_that_says_what_to_type(
    words: list[str], expected: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty / "note.txt").write_text("a file")

    assert main(words) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("avbench: error: ")
    assert said.err.count("\n") == 1
    assert expected in said.err
    assert "(default: " not in said.err  # the help of an option is not its fault
    assert [path.name for path in empty.parent.rglob("*")] == ["empty", "note.txt"]


def test_an_unreadable_home_is_a_line_that_names_the_variable(empty: Path) -> None:
    """As under ``sudo -u somebody``, which keeps HOME: the folder of another, which may not even be looked into."""
    home = empty.parent / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    del environment["AVBENCH_CACHE"]
    command = [sys.executable, "-m", "avbench", *RUN, *SMALL, "--results", str(empty / "results")]
    if os.geteuid() == 0:  # root may look into everything: without that right, root is as others are
        if (without := shutil.which("setpriv")) is None:
            pytest.skip("no setpriv is installed, and root reads everything")
        command = [without, "--bounding-set=-all", "--inh-caps=-all", *command]
    home.chmod(0)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    finally:
        home.chmod(0o700)
    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith(f"{home}/.cache/avbench: the cache cannot be written (Permission denied); "
                                "name a folder that can be in AVBENCH_CACHE.\n")  # fmt: skip
    assert list(home.iterdir()) == []


def test_a_checkpoint_of_another_method_and_clips_without_labels_are_told_with_the_fix(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from avbench.config import InputConfig, ModelConfig
    from avbench.data.soundshapes import make
    from avbench.methods.cavmae import CavMae, CavMaeConfig
    from avbench.training.export import save_weights

    model = ModelConfig(embed_dim=32, num_heads=2, modality_depth=1, joint_depth=1, decoder_embed_dim=16)
    save_weights(empty.parent / "w.safetensors", CavMae(CavMaeConfig(), model, InputConfig(image_size=64), seed=1))
    make(empty.parent / "made", train=2, tune=1, test=1, seed=3, workers=1, progress=False)
    data = ["--checkpoint", "../w.safetensors", "--data", "../made/videos"]
    capsys.readouterr()

    assert main(["run", "--method", "cavmae_sync", "--task", "retrieval", *data]) == 2
    assert "w.safetensors: these are weights of cavmae: --method cavmae.\n" in capsys.readouterr().err
    assert main(["run", "--method", "cavmae", "--task", "linear_probe", *data]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("avbench: error: labels: found none for any of the ")
    assert "a CSV with the columns file,label or folders named by class" in said
    assert list(empty.iterdir()) == []

"""The command line as a user meets it: help without torch, one clear line and exit status 2 for bad input."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import avbench
from avbench.cli import COMMANDS, main
from avbench.processes import CODE

RUN = ["run", "--method", "cavmae", "--task", "retrieval"]


def videos(folder: Path) -> Path:
    """A folder that looks like videos until somebody decodes one."""
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"no video")
    return folder


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "methods"], ["list", "tasks"], ["list", "recipes"], ["--version"]]
)
def test_help_and_lists_do_not_import_torch_or_pandas(words: list[str]) -> None:
    code = f"import sys; from avbench.cli import main; main({words!r}); print(sorted(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = answer.stdout.splitlines()[-1]
    assert "'torch'" not in modules
    assert "'pandas'" not in modules


def test_help_of_all_reads_no_file_and_starts_nothing() -> None:
    code = "import sys; from avbench import cli; cli.main([]); print('avbench.processes' in sys.modules, cli._CODE)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == f"False {CODE}"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "avbench", command, "--help"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0
    assert f"usage: avbench {command}" in answer.stdout


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", [["--help"], ["list", "settings"], ["check"], ["run", "--help"], ["list", "--help"]])
def test_output_that_nobody_reads_ends_a_command_without_a_word(words: list[str], buffered: bool) -> None:
    end = unread(words, buffered, stderr=subprocess.PIPE)
    assert end.stderr == ""
    assert end.returncode in (0, 128 + signal.SIGPIPE)  # 0 where argparse lets its help go


def test_an_error_that_nobody_reads_keeps_its_status() -> None:
    assert unread(["lst"], True, stderr=subprocess.STDOUT).returncode == 2


def unread(words: list[str], buffered: bool, stderr: int) -> subprocess.CompletedProcess[str]:
    """Runs a command whose standard output is a pipe that was closed at its other end."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "avbench", *words]
    try:
        return subprocess.run(command, stdout=writer, stderr=stderr, text=True, env=environment, check=False)
    finally:
        os.close(writer)


def test_a_pipe_that_breaks_inside_a_command_does_not_end_its_process() -> None:
    # Pools of processes write to one that was killed: the command line let the signal end the whole without a word.
    code = "import os; from avbench.cli import main; main([]); r, w = os.pipe(); os.close(r)\ntry: os.write(w, b'x')\n"
    code += "except BrokenPipeError: print('seen')"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "seen"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rnu"], "Did you mean 'run'"),
        (["run", "--method", "cavmea"], "Did you mean 'cavmae'"),
        (["run", "--method", "cavmae", "--task", "retreival"], "Did you mean 'retrieval'"),
        ([*RUN, "--seed", "0"], "--seeds"),
        ([*RUN, "--device", "gpu"], "cpu"),
        ([*RUN, "--seeds", "x"], "seeds"),
        ([*RUN, "--seeds", "-1"], "at least 0"),
        ([*RUN, "--set", "train.lr=-1"], "train.lr: found -1.0, valid: above 0"),
        ([*RUN, "--set", "train.steps=many"], "train.steps: found 'many'"),
        ([*RUN, "--set", "masking_ratoi=0.5"], "Did you mean"),
        ([*RUN, "--preset", "bsae"], "Did you mean 'base'"),
        ([*RUN, "--config", "missing.yaml"], "missing.yaml: no such file"),
        ([*RUN, "--data", "soundshape"], "Did you mean 'soundshapes'"),
        ([*RUN, "--data", "missing/manifest.json"], "no such name, file or folder"),
        ([*RUN, "--data", "empty"], "found no media file"),
        ([*RUN, "--data", "bad.json"], "bad.json"),
        ([*RUN, "--data", "hollow.json"], "hollow.json"),
        ([*RUN, "--data", "videos", "--checkpoint", "missing.pth"], "missing.pth"),
        ([*RUN, "--data", "videos", "--checkpoint", "bad.json"], "bad.json"),
        (["evaluate", "--features", "missing.npz"], "missing.npz"),
        (["evaluate", "--features", "half.npz"], "visual"),
        (["evaluate"], "--checkpoint"),
        (["features", "--method", "cavmae", "--data", "videos", "--out", "x.npz"], "--checkpoint"),
        (["data", "prepare", "missing", "--out", "out"], "missing"),
        (["data", "prepair"], "Did you mean 'prepare'"),
        (["data", "verify", "empty"], "prepare.json"),
        (["checkpoint", "inspect", "bad.json"], "bad.json"),
        (["list", "method"], "methods"),
        ([*RUN, "--results", "/dev/null"], "--results /dev/null: found a file, valid: a folder"),
        ([*RUN, "--results", "a" * 300], "--results aaa"),
        (["tables", "--results", "/dev/null/x"], "--results /dev/null/x: found a file at /dev/null"),
        (["sweep", "lambda_c", "--name", "../../x"], "--name: found '../../x', valid: the plain name of a folder"),
        ([*RUN, "--set", "train.steps=!!int x"], "--set train.steps: line 1: found the tag !!int, valid: plain values"),
        ([*RUN, "--set", "method={1: 2}"], "--set method: found a section, valid: a setting of it"),
        ([*RUN, "--set", "train.steps='a\n\n\nb'"], "train.steps: found 'a"),
        ([*RUN, "--config", "twice.yaml"], "twice.yaml: line 3: found 'train' a second time (first in line 1)"),
        ([*RUN, "--data", "caf\udce9"], "found bytes that are not UTF-8"),
    ],
)
def test_bad_input_is_one_clear_line_with_status_2(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "twice.yaml").write_text("train:\n  steps: 5\ntrain:\n  lr: 0.1\n")
    (tmp_path / "hollow.json").write_text('{"data": []}')
    np.savez(tmp_path / "half.npz", id=np.array(["a"]), audio=np.ones((1, 2), np.float32))
    videos(tmp_path / "videos")
    before = sorted(tmp_path.rglob("*"))

    assert main(words) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("avbench: error: ")
    assert expected in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_no_gpu_is_said_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main([*RUN, "--device", "cuda", "--results", str(tmp_path / "results")]) == 2
    assert "found no GPU" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_an_old_python_is_one_clear_line_with_status_2() -> None:
    """As Python 3.9 would come to it; what is read before the line must be such as Python 3.7 reads."""
    old = "import runpy, sys; sys.version_info = (3, 9, 18); runpy.run_module('avbench', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("avbench: error: found Python 3.9, valid: 3.11 or newer")
    assert done.stderr.count("\n") == 1
    for name in ("__init__", "__main__", "version"):
        ast.parse((Path(avbench.__file__).parent / f"{name}.py").read_text(), feature_version=(3, 7))


def test_debug_shows_the_traceback() -> None:
    from avbench.errors import InputError

    with pytest.raises(InputError):
        main(["rnu", "--debug"])

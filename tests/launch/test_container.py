"""Jobs in a container: the command line, and a program in Apptainer's place that records and executes it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from avbench.errors import InputError
from avbench.launch import container
from avbench.launch.job import Job
from avbench.launch.payload import Payload
from avbench.launch.profile import Profile, find_profile
from avbench.processes import environment

# What Apptainer does with these options, but in no container: it needs the image, and changes folder and variables.
FAKE = f"""#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
open(os.environ["RECORD"], "a").write(json.dumps(words) + "\\n")
assert words.pop(0) == "exec"
while words[0].startswith("--"):
    option = words.pop(0)
    if option == "--pwd":
        os.chdir(words.pop(0))
    elif option == "--bind":
        assert os.path.isdir(words.pop(0))
    elif option == "--env":
        name, _, value = words.pop(0).partition("=")
        os.environ[name] = value
assert os.path.exists(words.pop(0))
os.execv({sys.executable!r}, [{sys.executable!r}, "-m", *words])
"""


def write_program(folder: Path) -> None:
    """Puts the program into a folder, under the name of Apptainer."""
    program = folder / "apptainer"
    program.write_text(FAKE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, a cache, a folder of data and the program."""
    for name in ("here", "cache", "data/set", "bin"):
        (tmp_path / name).mkdir(parents=True)
    write_program(tmp_path / "bin")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "image.sif").touch()
    return tmp_path


def test_the_folders_that_a_command_names_are_handed_over(place: Path) -> None:
    (place / "data/model.pt").touch()
    (place / "data/link").symlink_to(place / "data/set")
    found = container.mounts(
        (
            *("run", "--method", "cavmae", "--results", f"{place}/far/results", "--data", f"{place}/data/set"),
            *("--checkpoint", "../data/model.pt", "--set", f"data.labels={place}/here/labels.csv", "train.init=a/b"),
        )
    )
    assert found == sorted([str(place)])  # as far/results is yet to be made, what is above it
    assert container.mounts(("--data", f"{place}/data/link")) == sorted(
        f"{place}/{name}" for name in ("cache", "data/link", "data/set", "here")
    )
    assert container.mounts(("--encoder", f"{place}/data/model.py:Model")) == sorted(
        f"{place}/{name}" for name in ("cache", "data", "here")
    )
    (place / "data/a,b").mkdir()
    with pytest.raises(InputError, match="a,b: found ':' or ',' in its name"):
        container.mounts(("--data", f"{place}/data/a,b"))


def test_the_command_lines(place: Path) -> None:
    image = f"apptainer:{place}/image.sif"
    arguments = ("run", "--data", f"{place}/data/set")
    assert container.words(image, arguments, gpus=True, variables={}) == [
        *("apptainer", "exec", "--nv", "--pwd", f"{place}/here"),
        *("--bind", f"{place}/cache", "--bind", f"{place}/data/set", "--bind", f"{place}/here"),
        *("--env", f"AVBENCH_CACHE={place}/cache", "--env", "PYTHONPATH=", "--env", "PYTHONNOUSERSITE=1"),
        *(f"{place}/image.sif", "avbench", *arguments),
    ]
    variables = {"RANK": "1", "SLURM_JOB_ID": "7", "AVBENCH_CODE": "abc", "PYTHONPATH": "/x", "LS_COLORS": ""}
    assert container.words("docker:avbench:1", arguments, gpus=False, variables=variables) == [
        *("docker", "run", "--rm", "--network", "host", "--ipc", "host", "--pid", "host"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "--workdir", f"{place}/here"),
        *("--volume", f"{place}/cache:{place}/cache", "--volume", f"{place}/data/set:{place}/data/set"),
        *("--volume", f"{place}/here:{place}/here"),
        *("--env", f"AVBENCH_CACHE={place}/cache", "--env", "PYTHONPATH=", "--env", "PYTHONNOUSERSITE=1"),
        *("--env", f"HOME={place}/cache", "--env", "AVBENCH_CODE", "--env", "RANK", "--env", "SLURM_JOB_ID"),
        *("--entrypoint", "avbench", "avbench:1", *arguments),
    ]


def test_a_job_runs_in_its_image(place: Path) -> None:
    """The command of a job really runs through the program, and passes on how it ended."""
    profile = Profile(container=f"apptainer:{place}/image.sif")
    job = Job("list", "list", ("list", "tasks", "--format", "markdown"))
    code = {**environment(), "PYTHONPATH": "/of/the/machine/outside"}
    payload = Payload.of(job, profile, code)
    done = subprocess.run(
        [sys.executable, "-c", f"from avbench.launch.payload import Payload; {payload!r}()"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "retrieval" in done.stdout
    (words,) = map(json.loads, (place / "record").read_text().splitlines())
    assert words[:3] == ["exec", "--pwd", f"{place}/here"]
    assert words[-6:] == [f"{place}/image.sif", "avbench", *job.arguments]
    stopped = payload.checkpoint()
    assert stopped.function.container == profile.container
    wrong = Payload.of(Job("list", "list", ("list", "nothing")), profile, code)
    script = f"from avbench.launch.payload import Payload; {wrong!r}()"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 2


def test_an_image_of_other_code_is_refused(place: Path) -> None:
    payload = Payload(("list", "tasks"), code={"AVBENCH_CODE": "0" * 64}, container=f"apptainer:{place}/image.sif")
    script = f"from avbench.launch.payload import Payload; {payload!r}()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "found code" in done.stderr


@pytest.mark.parametrize("text", ["avbench.sif", "podman:avbench", "apptainer:", "docker"])
def test_what_is_no_container(text: str, place: Path) -> None:
    (place / "here/here.yaml").write_text(f"container: '{text}'\n")
    with pytest.raises(InputError, match=r"here.yaml: container: found .*, valid: apptainer:FILE.sif or docker:IMAGE"):
        find_profile("here.yaml")


def test_an_image_that_is_not_there_is_named(place: Path) -> None:
    container.check(f"apptainer:{place}/image.sif", "--cluster here")
    container.check("apptainer:docker://avbench", "--cluster here")
    container.check("docker:avbench", "--cluster here")
    container.check("", "--cluster here")
    with pytest.raises(InputError, match=r"--cluster here: container: no such file gone.sif; build it with"):
        container.check("apptainer:gone.sif", "--cluster here")

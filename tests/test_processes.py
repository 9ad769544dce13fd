"""Workers run the code of the command that started them, or say that they have another."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import avbench
from avbench import processes
from avbench.data.feed.loader import worker_count
from avbench.data.prepare.share import FolderLock
from avbench.errors import InputError
from avbench.processes import Child
from avbench.store import provenance
from avbench.training.device import torch_threads
from avbench.training.state import exclusive


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **processes.environment(), **variables}
    return subprocess.run(
        processes.words("--version"), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_other_code_in_the_working_folder_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "avbench").mkdir()
    (tmp_path / "avbench" / "__init__.py").write_text("")
    (tmp_path / "avbench" / "__main__.py").write_text("print('other code')\n")
    assert run(tmp_path).stdout == f"avbench {avbench.__version__}\n"


def test_a_worker_with_other_code_refuses_in_one_line(tmp_path: Path) -> None:
    copy = tmp_path / "avbench"
    shutil.copytree(Path(avbench.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert run(tmp_path, PYTHONPATH=str(tmp_path)).returncode == 0  # a copy of the same code is the same code
    with (copy / "version.py").open("a") as file:
        file.write("# edited\n")
    answer = run(tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"avbench: error: {copy}: found code ")
    assert answer.stderr.count("\n") == 1


def test_what_nobody_started_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(processes.CODE, raising=False)
    processes.check_code()
    monkeypatch.setenv(processes.CODE, "0" * 64)
    with pytest.raises(InputError, match="valid: 0000000000000000, that of what started this process"):
        processes.check_code()


def test_an_installed_package_tells_the_commit_that_pip_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def __init__(self, text: str | None) -> None:
            self.text = text

        def read_text(self, _: str) -> str | None:
            return self.text

    def state(text: str | None) -> dict[str, object]:
        monkeypatch.setattr(provenance.metadata, "distribution", lambda _: Installed(text))
        provenance.git_state.cache_clear()
        return provenance.git_state()

    monkeypatch.setattr(
        provenance, "_git", lambda *words, root=None: None if root is None else "c0ffee\n" * (words[0] == "rev-parse")
    )
    try:
        given = state('{"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}')
        assert (given["commit"], given["from"]) == ("abc123", "installed from its repository")
        home = Path(avbench.__file__).parents[1]
        local = state(f'{{"url": "{home.as_uri()}", "dir_info": {{}}}}')
        assert (local["commit"], local["from"]) == ("c0ffee", "installed from a checkout")
        assert state(None)["from"] == "installed"
        assert state(None)["commit"] is None
    finally:
        provenance.git_state.cache_clear()


def test_a_file_system_without_locks_says_so_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(processes.fcntl, "flock", refuse)
    monkeypatch.setattr(processes.fcntl, "lockf", refuse)
    waits: list[str] = []
    for _ in range(2):
        with processes.locked(tmp_path / "stage", lambda: waits.append("waits")), exclusive(tmp_path / "stage"):
            pass
    with FolderLock(tmp_path / "stage") as lock, lock.plan():
        pass
    assert not waits
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'stage'}: this file system has no locks; let one command at a time write there"
    ]


def test_shares_of_a_folder_are_refused_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(processes.fcntl, "lockf", refuse)
    with pytest.raises(InputError, match=r"file system without locks.* give the command once, without --part"):
        FolderLock(tmp_path, [0, 1]).__enter__()
    with FolderLock(tmp_path, []) as lock, pytest.raises(InputError, match="without --part"), lock.plan():
        pass


def test_another_failure_of_a_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(processes.fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"), processes.locked(tmp_path):
        pass


def test_a_child_says_how_it_ended() -> None:
    child = Child("avbench.no_such_module")
    with pytest.raises(EOFError):
        child.connection.recv()
    assert child.ending() == "exit status 1"
    assert child.last_words() == "ModuleNotFoundError: No module named 'avbench.no_such_module'"
    child.stop()


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        ({}, 16),
        ({"LOCAL_WORLD_SIZE": "4"}, 16),  # left in a shell: this process has no companions
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, 4),
        ({"WORLD_SIZE": "32", "LOCAL_WORLD_SIZE": "32"}, 1),
        ({"WORLD_SIZE": "8"}, 16),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "SLURM_NTASKS": "8", "SLURM_CPUS_PER_TASK": "16"}, 16),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "16"}, 4),
    ],
)
def test_processes_that_share_a_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], share: int
) -> None:
    monkeypatch.setattr(processes, "core_count", lambda: 16)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processes.own_cores() == share
    assert worker_count(-1) == share - 1
    assert worker_count(3) == 3
    with torch_threads(share - 2):
        assert torch.get_num_threads() <= 2

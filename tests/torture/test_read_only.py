"""Who may only read sees all that reading needs; what cannot be written names its path and what would help.

Root may write anywhere: its commands run without the two capabilities by which it does.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tormented import RUN

_DROP, _CAPABILITIES = 24, (1, 2)  # PR_CAPBSET_DROP; CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
NOWHERE = {"HOME": "", "AVBENCH_CACHE": "", "XDG_CONFIG_HOME": "", "MPLCONFIGDIR": ""}


def _obey_modes() -> None:
    libc = ctypes.CDLL(None)
    for number in _CAPABILITIES if os.geteuid() == 0 else ():
        if libc.prctl(_DROP, number, 0, 0, 0):
            raise OSError("capabilities cannot be dropped")


_ALL = "import json, sys; from avbench.cli import main; print([main(words) for words in json.loads(sys.argv[1])])"


def give(words: list[str], place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Gives a command in a folder, to somebody who may do what modes allow; an empty variable is not set."""
    return start(["-m", "avbench", *words], place, **variables)


def start(words: list[str], place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in {**os.environ, **variables}.items() if value}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=place, env=environment, preexec_fn=_obey_modes, capture_output=True, text=True, check=False
    )


def closed(folder: Path) -> None:
    for each in (folder, *folder.rglob("*")):
        if not each.is_symlink():
            each.chmod(0o555 if each.is_dir() else 0o444)


@pytest.fixture(scope="module")
def shared(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with results that nobody may write to, without what earlier tables and reports left."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(finished / "results", folder / "results", symlinks=True)
    for left in ("tables", ".cache"):
        shutil.rmtree(folder / "results" / left, ignore_errors=True)
    (folder / "results" / "report.html").unlink()
    closed(folder)
    yield folder
    for each in (folder, *folder.rglob("*")):
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o755)


def test_readers_need_no_home_no_cache_and_write_nothing(shared: Path, tmp_path: Path) -> None:
    runs = sorted(path.name for path in (shared / "results" / "runs").iterdir())
    before = sorted(shared.rglob("*"))
    commands = [
        ["list", "methods"],
        ["list", "data"],
        ["list", "runs"],
        ["status"],
        ["verify", "results", "--no-data"],
        ["tables", "--format", "terminal", "--cost"],
        ["tables", "--missing"],
        ["tables", "--out", str(tmp_path / "tables")],
        ["figures", "--out", str(tmp_path / "figures")],
        ["report", "--out", str(tmp_path / "report.html")],
        ["compare", runs[0], runs[0]],
        ["check"],
    ]
    done = start(["-c", _ALL, json.dumps(commands)], shared, **NOWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str([0] * len(commands)), done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "tables" / "table_01.tex").is_file()
    assert (tmp_path / "report.html").is_file()
    assert sorted(shared.rglob("*")) == before


def test_what_cannot_be_written_is_named(shared: Path, cache: Path) -> None:
    commands = {
        "results/tables/table_": ["tables"],
        "results/figures/": ["figures"],
        "results/report.html": ["report"],
        "results/stages/": [*RUN, "train.lr=0.5"],
    }
    done = start(["-c", _ALL, json.dumps(list(commands.values()))], shared, AVBENCH_CACHE=str(cache))
    assert done.stdout.splitlines()[-1] == str([1] * len(commands)), done.stderr
    for place in commands:
        (line,) = [line for line in done.stderr.splitlines() if place in line]
        assert "cannot be written (Permission denied); all that was finished before is kept. Name a folder" in line
    assert "Traceback" not in done.stderr


def test_a_record_is_reused_where_nothing_can_be_written(shared: Path, cache: Path) -> None:
    done = give([*RUN, "--format", "json"], shared, AVBENCH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert "reused, nothing computed" in done.stderr + done.stdout or '"metrics"' in done.stdout


@pytest.mark.parametrize("variable", ["AVBENCH_CACHE", "HOME"])
def test_a_cache_that_cannot_be_written_is_refused(variable: str, shared: Path, tmp_path: Path) -> None:
    words = [*RUN, "data.clips_seed=7", "--results", str(tmp_path / "results")]
    done = give(words, tmp_path, **{**NOWHERE, variable: str(shared)})
    assert done.returncode == 2
    assert str(shared) in done.stderr
    assert "the cache cannot be written (Permission denied); name a folder" in done.stderr
    assert not (tmp_path / "results").exists()


def test_no_results_can_be_begun_in_a_closed_folder(shared: Path, cache: Path) -> None:
    done = give([*RUN, "--results", "new"], shared, AVBENCH_CACHE=str(cache))
    assert done.returncode == 2
    assert "--results new" in done.stderr
    assert "may not be written to" in done.stderr

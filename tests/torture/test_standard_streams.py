"""What is printed does nothing to a terminal, and a stream that is closed or full ends no work in a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.commands.terminal import Inert, one_line

EVIL = "\x1b[2J\x07\x9b31m\u202egnp\r"
LIST = [sys.executable, "-m", "avbench", "list", "methods"]


def test_control_characters_are_written_as_escapes() -> None:
    stream = io.StringIO()
    Inert(stream).write(f"a{EVIL}b\tc\n")
    assert stream.getvalue() == "a\\x1b[2J\\x07\\x9b31m\\u202egnp\\rb\tc\n"


def test_a_progress_bar_may_return_to_the_start_of_its_line() -> None:
    stream = io.StringIO()
    Inert(stream).write("\r 50 %")
    Inert(stream).write("lines\r\n")
    assert stream.getvalue() == "\r 50 %lines\r\n"


def test_an_error_of_any_length_is_one_line() -> None:
    line = one_line(f"first\n{'x' * 10_000} \x1b[2J{' y' * 10_000}")
    assert line.isprintable()
    assert line.startswith("first xxx")
    assert len(line) < 2200


def test_names_of_files_do_nothing_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\x1b[2J\n.mp4").write_bytes(b"no video")
    words = ["data", "prepare", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 1  # nothing could be used
    text = capsys.readouterr()
    assert "failed: none of the files could be used" in text.err
    assert text.out.replace("\n", "").isprintable()
    assert main(words) == 1  # nor the second time, when there is nothing to do


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_end_no_command(closed: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "avbench", "data", "make", "soundshapes", "--clips", "3", "--out", "set"]
    done = subprocess.run(["bash", "-c", f'"$@" {closed}', "-", *words], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "set" / "preview.png").is_file()
    assert b"Traceback" not in done.stderr


def test_a_full_output_is_an_error_of_one_line(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(LIST, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("avbench: error: writing: No space left on device")
    assert done.stderr.count("\n") == 1

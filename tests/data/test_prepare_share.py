"""Several processes that write shares of one prepared folder, and the one that finishes it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_files import tone, write_video

import avbench
from avbench.cli import main
from avbench.config import DataConfig, InputConfig
from avbench.data.locate import locate, open_source
from avbench.data.prepare.driver import PartShare, PrepareSettings, prepare, prepare_share
from avbench.errors import InputError

SETTINGS = PrepareSettings(n_frames=3, size=16)
WORDS = ("--n-frames", "3", "--size", "16", "--workers", "1")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 files, which are seven parts: the last is cut short, and the third holds nothing that can be used."""
    root = tmp_path_factory.mktemp("videos")
    for index in range(26):
        path = root / "abc"[index % 3] / f"{index}.mp4"
        write_video(path, levels=range(20 + index, 40 + index), fps=20, sound=tone(1, 300 + 50 * index))
    for path in sorted(root.rglob("*.mp4"))[8:12]:
        path.write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def alone(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a single process writes."""
    out = tmp_path_factory.mktemp("alone") / "out"
    prepare(videos, out, SETTINGS, workers=1, progress=False)
    return content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(videos: Path, out: Path, part: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(avbench.__file__).parents[1])}
    words = ("-m", "avbench", "data", "prepare", str(videos), "--out", str(out), *WORDS, "--part", part)
    return subprocess.Popen((sys.executable, *words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@contextmanager
def holding(out: Path, parts: str) -> Iterator[None]:
    """Another process that has the lock of these parts."""
    code = (
        "import sys; from pathlib import Path; from avbench.data.prepare.share import FolderLock\n"
        f"with FolderLock(Path({str(out)!r}), {parts}): print('held', flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(avbench.__file__).parents[1])}
    process = subprocess.Popen(
        (sys.executable, "-c", code), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.communicate()


def test_three_at_a_time_one_killed_and_repeated_give_the_same_bytes(
    videos: Path, alone: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    first, *others = (command(videos, out, f"{index}/3") for index in (1, 2, 3))
    while not (out / "parts" / "000000.json").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.005)
    first.kill()
    first.wait()
    (out / "shards" / ".000003.tar.1.tmp").write_bytes(b"half a shard")
    again = command(videos, out, "1/3")
    said = [process.communicate()[0].decode() for process in (again, *others)]
    assert [process.returncode for process in (again, *others)] == [0, 0, 0], said
    assert "part 2/3: 2 of its 2 shards written; the same command without --part finishes" in said[1]
    assert sorted(p.name for p in (out / "parts").glob("0*")) == [f"{number:06d}.json" for number in range(7)]
    assert not list(out.rglob(".*.tmp"))
    written = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert main(["data", "prepare", str(videos), "--out", str(out), *WORDS]) == 0
    assert "22 clips of 26 files" in capsys.readouterr().out
    assert content(out) == alone
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == written


def test_what_no_share_wrote_is_written_at_the_end(videos: Path, alone: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare_share(videos, out, PartShare(3, 3), SETTINGS, workers=1, progress=False)
    assert (report.parts, report.written, report.complete) == (2, 2, False)
    assert prepare_share(videos, out, PartShare(3, 3), SETTINGS, progress=False).written == 0
    assert prepare_share(videos, out, PartShare(9, 9), SETTINGS, progress=False).parts == 0
    assert not (out / "prepare.json").exists()
    assert not prepare(videos, out, SETTINGS, workers=1, progress=False).reused
    assert content(out) == alone
    late = prepare_share(videos, out, PartShare(1, 3), SETTINGS, progress=False)
    assert late.complete
    assert content(out) == alone


def test_a_part_is_written_by_one_process_at_a_time(videos: Path, alone: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_share(videos, out, PartShare(7, 7), SETTINGS, workers=1, progress=False)
    with holding(out, "[1, 3]"):
        with pytest.raises(InputError, match="writing part 3 of it or all of it"):
            prepare_share(videos, out, PartShare(1, 3), SETTINGS, progress=False)
        with pytest.raises(InputError, match="is writing it"):
            prepare(videos, out, SETTINGS, progress=False)
        (out / "shards" / ".000001.tar.1.tmp").write_bytes(b"another's work")
        prepare_share(videos, out, PartShare(3, 3), SETTINGS, workers=1, progress=False)
        assert (out / "shards" / ".000001.tar.1.tmp").exists()
    with holding(out, "None"), pytest.raises(InputError, match="or all of it"):
        prepare_share(videos, out, PartShare(1, 3), SETTINGS, progress=False)
    prepare(videos, out, SETTINGS, workers=1, progress=False)
    assert content(out) == alone


def test_shares_of_other_settings_are_refused(videos: Path, tmp_path: Path) -> None:
    prepare_share(videos, tmp_path / "out", PartShare(7, 7), SETTINGS, workers=1, progress=False)
    other = PrepareSettings(n_frames=4, size=16)
    with pytest.raises(InputError, match="n_frames 3 there, 4 now"):
        prepare_share(videos, tmp_path / "out", PartShare(1, 7), other, progress=False)


@pytest.mark.parametrize("part", ["", "0/3", "4/3", "x", "1", "1/0", "-1/3", "1/3/5", "1.0/3", " 1/3", "1/3\n", "٣/٣"])
def test_a_part_that_is_none_is_refused(
    videos: Path, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "prepare", str(videos), "--out", str(tmp_path / "out"), f"--part={part}"]) == 2
    assert "valid: I/N with I from 1 to N, such as 3/8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@given(st.integers(1, 20), st.integers(0, 60))
def test_shares_have_each_part_once(count: int, parts: int) -> None:
    shares = [PartShare.parse(f"{index}/{count}") for index in range(1, count + 1)]
    held = [sum(share.has(part) for share in shares) for part in range(parts)]
    assert held == [1] * parts
    sizes = [sum(share.has(part) for part in range(parts)) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_of_two_that_want_a_folder_one_prepares_and_the_other_waits(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", levels=[50] * 25, sound=tone(1, 440))
    code = (
        "import sys, logging; from avbench.data.locate import locate, open_source;"
        "from avbench.config import DataConfig, InputConfig; logging.basicConfig(level='INFO', format='%(message)s');"
        "source = locate(DataConfig(source=sys.argv[1]), InputConfig()); print('looked', flush=True); sys.stdin.read();"
        "print(len(open_source(source, workers=1, progress=False)))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "in")]
    variables = os.environ | {"AVBENCH_CACHE": str(tmp_path / "cache")}
    pipe = subprocess.PIPE
    runs = [subprocess.Popen(words, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "looked\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.close()
        run.stdin = None
    said = [run.communicate() for run in runs]
    assert [out.strip() for out, _ in said] == ["1", "1"], said
    assert sum("preparing in (once, into the cache)" in text for _, text in said) == 1, said


def test_a_part_refused_for_want_of_locks_leaves_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    assert main(["data", "prepare", str(videos), "--out", str(tmp_path / "out"), "--part=1/2"]) == 2
    assert "found a file system without locks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cache_that_cannot_be_written_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "in" / "a.mp4", levels=[50] * 25, sound=tone(1, 440))
    (tmp_path / "file").touch()
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "file"))
    source = locate(DataConfig(source=str(tmp_path / "in")), InputConfig())
    with pytest.raises(InputError, match="AVBENCH_CACHE"):
        open_source(source)

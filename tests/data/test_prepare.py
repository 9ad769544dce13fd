from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from video_files import tone, write_video

import avbench
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.prepare import pool
from avbench.data.prepare.driver import PrepareSettings, prepare
from avbench.data.prepare.pool import Decoders
from avbench.data.prepare.verify import verify
from avbench.errors import InputError
from avbench.files import read_json

SMALL = PrepareSettings(n_frames=3, size=16)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven clips in two classes, with awkward names, one of them silent, and three that cannot be used."""
    root = tmp_path_factory.mktemp("videos")
    names = ["dog/-a.mp4", "dog/b c.mp4", "dog/v1.2 é日.mp4", "cat/-a.mp4", *(f"cat/{i}.mkv" for i in range(7))]
    for index, name in enumerate(names):
        sound = 0 * tone(1, 440) if name == "cat/3.mkv" else tone(1, 300 + 50 * index)
        write_video(root / name, levels=range(20 + index, 60 + index), fps=40, sound=sound)
    write_video(root / "dog/mute.mp4", levels=[50] * 10)
    (root / "cat/empty.mp4").touch()
    (root / "cat/text.avi").write_text("no video\n")
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def prepared(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare(videos, out, SMALL, workers=1, progress=False)
    return out


def test_the_folder_holds_what_the_manifest_says(videos: Path, prepared: Path) -> None:
    rows = pq.read_table(prepared / "manifest.parquet").to_pylist()
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    assert {row["id"] for row in rows} >= {"dog__-a", "cat__-a", "b c", "v1.2 é日", "0"}
    assert {row["id"] for row in rows if row["silent"]} == {"3"}
    assert rows[0]["labels"] == ["cat"]
    assert all(row["n_frames"] == 3 and row["sample_rate"] == 16000 for row in rows)
    described = json.loads((prepared / "prepare.json").read_text())
    assert described["counts"] == {"clips": 11, "files": 14, "rejected": 3, "silent": 1} | {
        "seconds": described["counts"]["seconds"]
    }
    assert described["reasons"] == {"empty file": 1, "no audio track": 1, "not a media file": 1}
    with (prepared / "rejected.csv").open() as handle:
        refused = {row["file"]: row["reason"] for row in csv.DictReader(handle)}
    assert refused["dog/mute.mp4"] == "no audio track"
    assert sorted(path.name for path in prepared.iterdir()) == [
        "manifest.parquet",
        "prepare.json",
        "rejected.csv",
        "shards",
    ]
    assert verify(prepared) == []


def test_flac_is_the_same_sound_and_the_same_clips(videos: Path, prepared: Path, tmp_path: Path) -> None:
    small = dataclasses.replace(SMALL, sound="flac")
    prepare(videos, tmp_path / "flac", small, workers=1, progress=False)
    pcm, flac = PreparedClips.open(prepared), PreparedClips.open(tmp_path / "flac")
    assert flac.sha256 == pcm.sha256
    for i in range(len(pcm)):
        assert flac.waveform(i)[1] == pcm.waveform(i)[1]
        np.testing.assert_array_equal(flac.waveform(i)[0], pcm.waveform(i)[0])
    assert verify(tmp_path / "flac") == []
    with tarfile.open(next((tmp_path / "flac" / "shards").iterdir())) as archive:
        assert any(name.endswith(".flac") for name in archive.getnames())
    assert prepare(videos, tmp_path / "flac", SMALL, progress=False).reused  # it is not made again


def test_members_are_grouped_for_webdataset(prepared: Path) -> None:
    keys = []
    for shard in sorted((prepared / "shards").iterdir()):
        with tarfile.open(shard) as archive:
            names = archive.getnames()
        keys += [name.partition(".")[0] for name in names]
        assert all(name.partition(".")[2] in {"0.jpg", "1.jpg", "2.jpg", "wav", "json"} for name in names)
    assert "v1%2E2 é日" in keys
    assert keys == sorted(keys, key=keys.index)  # members of a key are adjacent


def test_the_result_does_not_depend_on_the_number_of_workers(videos: Path, prepared: Path, tmp_path: Path) -> None:
    prepare(videos, tmp_path / "out", SMALL, workers=3, progress=False)
    assert content(tmp_path / "out") == content(prepared)


def test_a_complete_folder_is_left_alone(videos: Path, prepared: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in prepared.rglob("*")}
    report = prepare(videos, prepared, SMALL, progress=False)
    assert report.reused
    assert (report.clips, report.rejected, report.files) == (11, 3, 14)
    assert {p: p.stat().st_mtime_ns for p in prepared.rglob("*")} == before


def test_a_killed_run_is_completed_to_the_same_bytes(videos: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from avbench.data.prepare.driver import prepare, PrepareSettings\n"
        f"prepare(Path({str(videos)!r}), Path({str(out)!r}), PrepareSettings(n_frames=3, size=16), workers=1)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(avbench.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    while not (out / "parts" / "000000.json").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "prepare.json").exists()
    kept = (out / "shards" / "000000.tar").stat().st_mtime_ns
    (out / "shards" / ".000001.tar.1.tmp").write_bytes(b"half a shard")
    with pytest.raises(InputError, match="unfinished"):
        verify(out)
    prepare(videos, out, SMALL, workers=2, progress=False)
    assert (out / "shards" / "000000.tar").stat().st_mtime_ns == kept
    assert content(out) == content(prepared)


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_or_sources_are_refused(videos: Path, tmp_path: Path, finished: bool) -> None:
    source = tmp_path / "source"
    write_video(source / "a.mp4", levels=[50] * 20, sound=tone(1, 440))
    out = tmp_path / "out"
    prepare(source, out, SMALL, workers=1, progress=False)
    if not finished:
        described = read_json(out / "prepare.json")
        (out / "parts").mkdir()
        (out / "parts" / "plan.json").write_text(json.dumps(described))
        (out / "prepare.json").unlink()
    with pytest.raises(InputError, match=r"other settings.*n_frames 3 there, 4 now"):
        prepare(source, out, PrepareSettings(n_frames=4, size=16), progress=False)
    with pytest.raises(InputError, match="other source files"):
        prepare(videos, out, SMALL, progress=False)


def test_a_folder_of_something_else_is_refused_and_untouched(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="no prepared folder"):
        prepare(videos, tmp_path, SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_windows_become_clips_of_their_own(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "film.mp4", levels=range(10, 210), fps=20, sound=tone(10, 440))
    settings = PrepareSettings(n_frames=3, size=16, window=4.0)
    report = prepare(tmp_path / "in", tmp_path / "out", settings, workers=1, progress=False)
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [(row["id"], row["start"]) for row in rows] == [
        ("film_000000", 0.0),
        ("film_000004", 4.0),
        ("film_000008", 8.0),
    ]
    assert report.rejected == 0
    assert rows[2]["duration"] == pytest.approx(2.0, abs=0.05)


def test_files_that_take_too_long_are_refused_and_the_run_goes_on(videos: Path, tmp_path: Path) -> None:
    settings = PrepareSettings(n_frames=3, size=16, file_timeout=0.0005)
    report = prepare(videos / "dog", tmp_path / "out", settings, workers=2, progress=False)
    assert report.files == 4
    assert report.clips + report.rejected == 4
    assert report.reasons["timed out after 0.0005 s"] > 0


def test_a_process_that_stood_still_with_this_one_has_time_left(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a scheduler suspends a job: files that were being decoded are none that took too long."""
    clock = [0.0]

    def waited(*arguments: Any, **options: Any) -> Any:
        found = wait(*arguments, **options)
        clock[0] += 10 * SMALL.file_timeout
        return found

    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(pool, "wait", waited)
    heard = []
    with Decoders([(0, str(videos / "dog" / "b c.mp4"))], SMALL, 1) as decoders:
        while "Done" not in heard:
            heard += [getattr(message, "reason", type(message).__name__) for _, message in decoders.messages()]
            clock[0] += 10 * SMALL.file_timeout
    assert heard == ["EncodedClip", "Done"]


def test_a_process_that_is_to_end_before_the_driver_is_no_crash(videos: Path) -> None:
    heard = []
    with Decoders([(0, str(videos / "dog" / "b c.mp4"))], SMALL, 1) as decoders:
        while "Done" not in heard:
            if decoders._workers[0].ready:
                os.kill(decoders._workers[0].child.pid, signal.SIGTERM)
            heard += [getattr(message, "reason", type(message).__name__) for _, message in decoders.messages()]
    assert heard == ["EncodedClip", "Done"]


def test_a_process_that_dies_is_replaced_and_its_file_named(videos: Path) -> None:
    jobs = [(number, str(path)) for number, path in enumerate(sorted((videos / "cat").glob("*.mkv"))[:3])]
    seen: dict[int, list[str]] = {number: [] for number, _ in jobs}
    killed = False
    with Decoders(jobs, SMALL, 1) as decoders:
        while sum("Done" in kinds for kinds in seen.values()) < len(jobs):
            for number, message in decoders.messages():
                seen[number].append(getattr(message, "reason", type(message).__name__))
            worker = decoders._workers[0]
            if worker.job == 1 and not killed:
                os.kill(worker.child.pid, signal.SIGKILL)
                killed = True
    assert seen[0] == ["EncodedClip", "Done"]
    assert seen[1] in (["decoder crashed: SIGKILL", "Done"], ["EncodedClip", "decoder crashed: SIGKILL", "Done"])
    assert seen[2] == ["EncodedClip", "Done"]


def test_a_file_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    large = np.zeros((4096, 8192, 3), np.uint8)
    write_video(tmp_path / "in" / "large.mp4", pictures=[large] * 2, size=(8192, 4096), sound=tone(0.2, 440))
    settings = PrepareSettings(n_frames=3, size=16, memory_gb=0.5)
    report = prepare(tmp_path / "in", tmp_path / "out", settings, workers=1, progress=False)
    assert report.reasons == {"needs too much memory": 1}

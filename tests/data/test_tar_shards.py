"""WebDataset shards as a source: what is read, and what is refused by name."""

from __future__ import annotations

import csv
import gzip
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from packed_files import prepared, shard, video, wav

from avbench.config import DataConfig, InputConfig
from avbench.data.corpus.stored import open_clips
from avbench.data.locate import locate
from avbench.data.prepare.source import list_source
from avbench.errors import InputError


def refused(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open() as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


def test_shards_that_webdataset_wrote(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    clip = video(tmp_path)
    for split, keys in (("train", "ab"), ("val", "c")):
        (tmp_path / "set").mkdir(exist_ok=True)
        with webdataset.TarWriter(str(tmp_path / f"set/{split}-000000.tar")) as sink:
            for number, key in enumerate(keys):
                sink.write({"__key__": f"clips/{key}", "mp4": clip, "cls": number, "json": {"source": "made"}})
    report, found = prepared(tmp_path / "set", tmp_path / "out")
    assert (report.clips, report.rejected) == (3, 0)
    assert found == {"a": (["0"], "train"), "b": (["1"], "train"), "c": (["0"], "tune")}


def test_a_shard_gives_the_clips_that_its_videos_give_in_a_folder(tmp_path: Path) -> None:
    clip = video(tmp_path)
    (tmp_path / "folder/dog").mkdir(parents=True)
    (tmp_path / "folder/dog/a.mp4").write_bytes(clip)
    shard(tmp_path / "set/s.tar", {"a.mp4": clip, "a.json": json.dumps({"label": "dog"}).encode()})
    prepared(tmp_path / "folder", tmp_path / "one")
    prepared(tmp_path / "set", tmp_path / "other")
    one, other = open_clips(tmp_path / "one", ""), open_clips(tmp_path / "other", "")
    np.testing.assert_array_equal(one.waveform(0)[0], other.waveform(0)[0])
    assert list(one.ids) == list(other.ids) == ["a"]
    assert [list(clips.labels(0)) for clips in (one, other)] == [["dog"], ["dog"]]


def test_labels_in_json_and_cls(tmp_path: Path) -> None:
    clip = video(tmp_path)
    told = {
        "one.json": b'{"labels": ["dog", "bark"], "split": "eval"}',
        "two.json": b'{"label": "cat; mouse"}',
        "three.cls": b"7\n",
        "four.json": b"{nothing",
        "five.json": b'{"label": {"a": 1}}',
        "six.json": b'{"split": "thursday"}',
    }
    keys = ("one", "two", "three", "four", "five", "six", "seven")
    shard(tmp_path / "set/s.tar", {**{f"{key}.mp4": clip for key in keys}, **told})
    _, found = prepared(tmp_path / "set", tmp_path / "out")
    assert found == {
        "one": (["dog", "bark"], "test"),
        "two": (["cat", "mouse"], ""),
        "three": (["7"], ""),
        "seven": ([], ""),
    }
    assert refused(tmp_path / "out") == {
        "s.tar/four.mp4": "unreadable label: its .json or .cls",
        "s.tar/five.mp4": "unreadable label: found a mapping",
        "s.tar/six.mp4": "unreadable label: found split thursday",
    }


def test_a_sound_beside_a_silent_video_or_a_picture(tmp_path: Path) -> None:
    import io

    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (10, 200, 90)).save(picture, "JPEG")
    members = {
        "own.mp4": video(tmp_path),
        "own.wav": wav(),
        "beside.mp4": video(tmp_path, sound=False),
        "beside.wav": wav(),
        "still.jpg": picture.getvalue(),
        "still.wav": wav(),
        "mute.mp4": video(tmp_path, sound=False),
        "alone.wav": wav(),
        "broken.mp4": video(tmp_path, sound=False),
        "broken.wav": b"RIFF....",
    }
    shard(tmp_path / "set/s.tar", members)
    prepared(tmp_path / "set", tmp_path / "out")
    clips = open_clips(tmp_path / "out", "")

    def pitch(id: str) -> float:
        samples, rate = clips.waveform(list(clips.ids).index(id))
        spectrum = np.abs(np.fft.rfft(np.asarray(samples).reshape(-1)[:16000]))
        return float(spectrum.argmax() * rate / 16000)

    assert {id: round(pitch(id), -1) for id in clips.ids} == {"own": 440, "beside": 880, "still": 880}
    assert refused(tmp_path / "out") == {
        "s.tar/alone.wav": "no video track",
        "s.tar/broken.mp4": "not a media file: no track that ffmpeg can read",
        "s.tar/mute.mp4": "no audio track",
    }


def test_members_that_leave_the_archive_are_refused_by_name(tmp_path: Path) -> None:
    clip = video(tmp_path)
    linked, pipe, device = tarfile.TarInfo("linked.mp4"), tarfile.TarInfo("pipe.mp4"), tarfile.TarInfo("device.mp4")
    linked.type, linked.linkname = tarfile.SYMTYPE, "/etc/passwd"
    pipe.type, device.type = tarfile.FIFOTYPE, tarfile.CHRTYPE
    hard = tarfile.TarInfo("hard.mp4")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../good.mp4"
    members = {"good.mp4": clip, "../up.mp4": clip, "a/../../up2.mp4": clip, f"{tmp_path}/absolute.mp4": clip}
    shard(tmp_path / "in/set/s.tar", {**members, "l": linked, "p": pipe, "d": device, "h": hard})
    before = set(tmp_path.rglob("*"))
    _, found = prepared(tmp_path / "in/set", tmp_path / "out")
    assert list(found) == ["good"]
    assert {path for path in tmp_path.rglob("*") if tmp_path / "out" not in (path, *path.parents)} == before
    assert refused(tmp_path / "out") == {
        "s.tar/../up.mp4": "name leaves the archive",
        "s.tar/a/../../up2.mp4": "name leaves the archive",
        f"s.tar/{tmp_path}/absolute.mp4": "name leaves the archive",
        "s.tar/linked.mp4": "link: to /etc/passwd",
        "s.tar/hard.mp4": "link: to ../good.mp4",
        "s.tar/pipe.mp4": "not a plain file",
        "s.tar/device.mp4": "not a plain file",
    }


def test_bad_shards_are_a_line_each_and_the_others_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = video(tmp_path)
    whole = shard(tmp_path / "set/good.tar", {"a.mp4": clip, "b.mp4": clip})
    data = whole.read_bytes()
    second = 512 + -(-len(clip) // 512) * 512
    (tmp_path / "set/cut.tar").write_bytes(data[: second + 600])
    (tmp_path / "set/torn.tar").write_bytes(data[:second] + os.urandom(512) + data[second + 512 :])
    (tmp_path / "set/none.tar").write_bytes(b"no archive at all" * 100)
    (tmp_path / "set/packed.tar.gz").write_bytes(gzip.compress(data))
    report, found = prepared(tmp_path / "set", tmp_path / "out")
    told = refused(tmp_path / "out")
    assert sorted(found) == ["cut.tar__a", "good.tar__a", "good.tar__b", "torn.tar__a"]
    assert told == {
        "cut.tar": "damaged shard: unexpected end of data; 2 samples before",
        "cut.tar/b.mp4": f"cut off: 88 of {len(clip)} bytes",
        "none.tar": "damaged shard: invalid header; 0 samples before",
        "packed.tar.gz": "compressed shard: unpack it to plain .tar first",
        "torn.tar": f"damaged shard: no header at byte {second}; 1 samples before",
    }
    assert len(caplog.messages) == 4
    assert report.rejected == 5


def test_nothing_but_bad_shards_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/none.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(InputError, match=r"set: found no clip in 1 shards or tables \(none.tar: damaged shard"):
        list_source(tmp_path / "set")


def test_media_files_come_before_shards_beside_them(tmp_path: Path) -> None:
    clip = video(tmp_path)
    shard(tmp_path / "set/s.tar", {"a.mp4": clip})
    (tmp_path / "set/b.mp4").write_bytes(clip)
    assert [file.name for file in list_source(tmp_path / "set").files] == ["b.mp4"]


def test_data_names_a_folder_of_shards_or_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    made = shard(tmp_path / "set/s.tar", {"a.mp4": video(tmp_path)})
    found = [locate(DataConfig(source=str(path)), InputConfig()) for path in (made.parent, made)]
    assert [source.name for source in found] == ["set", "s"]
    assert not any(source.ready for source in found)
    shard(made, {"a.mp4": video(tmp_path), "b.mp4": video(tmp_path)})
    assert locate(DataConfig(source=str(made)), InputConfig()).clips != found[1].clips

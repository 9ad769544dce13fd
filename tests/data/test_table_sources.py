"""Folders that datasets wrote, as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from packed_files import prepared, video, wav
from test_tar_shards import refused

from avbench.data.prepare.source import list_source
from avbench.errors import InputError


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two videos with sound and one without, as a dataset; kept by path until it is written."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    (tmp_path / "videos").mkdir()
    for name in ("a", "b", "mute"):
        (tmp_path / f"videos/{name}.mp4").write_bytes(video(tmp_path, sound=name != "mute", level=100 + len(name)))
    features = datasets.Features(
        {
            "video": datasets.Video(),
            "sound": datasets.Value("binary"),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
        }
    )
    paths = [str(tmp_path / f"videos/{name}.mp4") for name in ("a", "b", "mute")]
    rows = {"video": paths, "sound": [None, None, wav()], "label": [0, 1, 1]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_saved_to_disk(tmp_path: Path, clips: Any) -> None:
    import datasets

    datasets.DatasetDict({"train": clips, "test": clips.select([0])}).save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "videos").iterdir():
        path.unlink()  # the folder holds the videos itself
    report, found = prepared(tmp_path / "saved", tmp_path / "out")
    assert (report.clips, report.rejected) == (4, 0), refused(tmp_path / "out")
    assert sorted(found.values()) == [(["cat"], "test"), (["cat"], "train"), (["dog"], "train"), (["dog"], "train")]
    assert {"b", "mute"} < set(found)


def test_parquet_with_the_bytes_and_with_paths(tmp_path: Path, clips: Any) -> None:
    from datasets.table import embed_table_storage

    (tmp_path / "paths/data").mkdir(parents=True)
    clips.to_parquet(str(tmp_path / "paths/data/validation-00000-of-00001.parquet"))
    held = clips.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
    (tmp_path / "bytes/data").mkdir(parents=True)
    held.to_parquet(str(tmp_path / "bytes/data/validation-00000-of-00001.parquet"))
    expected = {"a": (["cat"], "tune"), "b": (["dog"], "tune"), "mute": (["dog"], "tune")}
    assert prepared(tmp_path / "paths", tmp_path / "out1")[1] == expected
    for path in (tmp_path / "videos").iterdir():
        path.unlink()
    report, found = prepared(tmp_path / "bytes", tmp_path / "out2")
    assert found == expected
    assert report.rejected == 0
    assert prepared(tmp_path / "bytes/data/validation-00000-of-00001.parquet", tmp_path / "out4")[1] == expected


def test_plain_parquet_is_known_by_its_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    clip = video(tmp_path)
    rows = {
        "video_id": ["x", "y", "z"],
        "mp4": [clip, clip, None],
        "labels": [["dog", "bark"], [], None],
        "split": ["train", "val", ""],
    }
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "set/clips.parquet", row_group_size=2)
    _, found = prepared(tmp_path / "set", tmp_path / "out")
    assert found == {"x": (["dog", "bark"], "train"), "y": ([], "tune")}
    assert refused(tmp_path / "out") == {"clips.parquet/00000002/row.mp4": "file not found"}
    with pytest.raises(InputError, match="found the id 'x' for several clips"):
        pq.write_table(pa.table({**rows, "video_id": ["x", "x", "z"]}), tmp_path / "set/clips.parquet")
        list_source(tmp_path / "set")


def test_a_table_of_sounds_alone(tmp_path: Path) -> None:
    """Laid out as the copy of AudioSet that the catalogue names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    heard = [{"bytes": wav(pitch), "path": f"{name}.wav"} for name, pitch in (("x", 440), ("y", 880))]
    rows = {"video_id": ["x", "y"], "audio": heard, "labels": [["/m/09x0r", "/t/dd00088"], ["/m/04rlf"]]}
    (tmp_path / "data/eval").mkdir(parents=True)
    pq.write_table(pa.table(rows), tmp_path / "data/eval/00.parquet")
    _, found = prepared(tmp_path / "data", tmp_path / "out")
    assert found == {"x": (["/m/09x0r", "/t/dd00088"], "test"), "y": (["/m/04rlf"], "test")}


def test_tables_that_hold_no_clips_or_are_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "sounds": [b"1"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t.parquet: found the columns text, sounds, valid: one of videos"):
        list_source(tmp_path / "t.parquet")
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"video": [video(tmp_path)]}), tmp_path / "set/good.parquet")
    (tmp_path / "set/bad.parquet").write_bytes((tmp_path / "set/good.parquet").read_bytes()[:-20])
    (tmp_path / "set/bad.arrow").write_bytes(b"no table" * 20)
    report, found = prepared(tmp_path / "set", tmp_path / "out")
    assert (report.clips, report.rejected, len(found)) == (1, 2, 1)
    assert list(refused(tmp_path / "out")) == ["bad.arrow", "bad.parquet"]
    assert len(caplog.messages) == 2

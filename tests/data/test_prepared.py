from __future__ import annotations

import pickle
from pathlib import Path

import clip_files
import numpy as np
import pyarrow.parquet as pq
import pytest

from avbench.data.prepared import PreparedClips
from avbench.errors import InputError, RunError


@pytest.fixture
def clips(tmp_path: Path) -> PreparedClips:
    return PreparedClips.open(clip_files.prepared(tmp_path / "p"))


def test_columns(clips: PreparedClips) -> None:
    assert list(clips.ids) == [f"clip{i}" for i in range(6)]
    assert clips.ids[2] == "clip2"
    assert clips.ids[1:3] == ["clip1", "clip2"]
    assert np.asarray(clips.splits).tolist() == ["test", "train", "train", "test", "train", "train"]
    assert clips.class_names == ("cat", "dog", "rain")
    assert clips.labels(0) == ("cat", "rain")
    assert clips.duration(0) == 1.0
    assert [clips.n_frames(i) for i in range(3)] == [3, 2, 3]


def test_waveform_is_exact(clips: PreparedClips) -> None:
    for i in (0, 5):
        waveform, rate = clips.waveform(i)
        assert rate == clip_files.RATE
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform, clip_files.sound(i) / np.float32(32768))


def test_frames(clips: PreparedClips) -> None:
    frame = clips.frame(2, 1)
    assert frame.shape == (64, 64, 3)
    assert np.abs(frame.astype(int) - clip_files.picture(21)).mean() < 6


def test_beyond_the_last_frame_is_the_last(clips: PreparedClips) -> None:
    np.testing.assert_array_equal(clips.frame(1, 9), clips.frame(1, 1))


def test_selection(clips: PreparedClips) -> None:
    part = clips.select([4, 1])
    assert list(part.ids) == ["clip4", "clip1"]
    assert part.class_names == clips.class_names
    np.testing.assert_array_equal(part.waveform(1)[0], clips.waveform(1)[0])
    np.testing.assert_array_equal(part.frame(0, 2), clips.frame(4, 2))
    assert part.sha256 != clips.sha256
    assert part.sha256 == clips.select(np.array([1, 4])).sha256
    assert part.ids_sha256() == clips.select([1, 4]).ids_sha256()
    assert len(clips.select([])) == 0


def test_pickles(clips: PreparedClips) -> None:
    copy = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(copy.frame(0, 0), clips.frame(0, 0))


def test_damage_names_the_clip(clips: PreparedClips) -> None:
    shard = clips.root / "shards" / "000000.tar"
    shard.write_bytes(b"\0" * shard.stat().st_size)
    with pytest.raises(RunError, match=r"clip 'clip2'.*sound"):
        clips.waveform(2)
    with pytest.raises(RunError, match=r"clip 'clip3'.*frame 1"):
        clips.frame(3, 1)


def test_not_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.parquet").write_text("text")
    with pytest.raises(InputError, match="not a manifest"):
        PreparedClips.open(tmp_path)


def test_missing_column(tmp_path: Path) -> None:
    root = clip_files.prepared(tmp_path / "p")
    table = pq.read_table(root / "manifest.parquet")
    pq.write_table(table.drop_columns(["audio_size"]), root / "manifest.parquet")
    with pytest.raises(InputError, match="audio_size"):
        PreparedClips.open(root)

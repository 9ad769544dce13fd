from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import clip_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avbench.data.corpus.manifest_file import content_hash, content_line, schema, table_hash
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.prepare.driver import PrepareSettings, prepare
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


def test_labels_of_all_clips_at_once(clips: PreparedClips) -> None:
    for some in (clips, clips.select([4, 0, 0]), clips.select([])):
        offsets, codes = some.label_codes()
        assert offsets[0] == 0
        rows = [codes[a:b] for a, b in itertools.pairwise(offsets)]
        assert [tuple(some.class_names[c] for c in row) for row in rows] == [some.labels(i) for i in range(len(some))]


def test_classes_stand_in_the_order_of_the_list_beside_the_manifest(tmp_path: Path) -> None:
    folder = clip_files.prepared(tmp_path / "p")
    (folder / "classes.txt").write_text("/m/1\train\n/m/2\tdog\n/m/3\tcat\n/m/4\tnobody has it\n")
    clips = PreparedClips.open(folder)
    assert clips.class_names == ("rain", "dog", "cat", "nobody has it")
    assert clips.labels(0) == ("cat", "rain")
    assert clips.label_codes()[1][:2].tolist() == [2, 0]
    (folder / "classes.txt").write_text("/m/1\train\n")
    with pytest.raises(InputError, match="lacks class 'cat'"):
        PreparedClips.open(folder)


def test_the_hash_of_a_table_is_that_of_its_rows() -> None:
    texts = ["a", "", 'a "quoted" one', "back\\slash", "a\nb", "ünï – ☃", "a,b", '","', "\x7f", "'"]
    rows = [
        {"id": f"{i} {text}", "split": text if i % 3 else "train", "labels": texts[: i % 5], "sha256": f"{i:04x}"}
        for i, text in enumerate(texts * 3)
    ]
    rows += [{"id": text, "split": "", "labels": [text], "sha256": ""} for text in texts]
    columns = pa.schema([schema().field(name) for name in ("id", "split", "labels", "sha256")])
    table = pa.Table.from_pylist(rows, schema=columns)
    expected = content_hash(content_line(row) for row in rows)
    assert table_hash([table]) == expected
    assert table_hash([table.slice(7), table.slice(0, 7)]) == expected
    assert table_hash([]) == table_hash([table.slice(0, 0)]) == content_hash([])


def test_bytes_that_changed_are_not_decoded(tmp_path: Path) -> None:
    """A JPEG of a changed byte is mostly a picture still, and another one."""
    from video_files import tone, write_video

    write_video(tmp_path / "source" / "a.mp4", levels=[40, 80, 120, 160] * 5, sound=tone(1, 440))
    prepare(tmp_path / "source", tmp_path / "p", PrepareSettings(n_frames=2, size=16), workers=1, progress=False)
    row = pq.read_table(tmp_path / "p" / "manifest.parquet").to_pylist()[0]
    shard = tmp_path / "p" / row["shard"]
    whole = shard.read_bytes()

    def opened(place: int) -> PreparedClips:
        data = bytearray(whole)
        data[place] ^= 1
        shard.write_bytes(data)
        return PreparedClips.open(tmp_path / "p")

    clips = opened(row["frame_offsets"][1] + row["frame_sizes"][1] - 10)
    assert clips.frame(0, 0).shape == (16, 16, 3)
    with pytest.raises(RunError, match=r"frame 1 in .* cannot be read \(its bytes are not those that were written"):
        clips.frame(0, 1)
    with pytest.raises(RunError, match=r"sound in .*\(its bytes"):
        opened(row["audio_offset"] + 60).waveform(0)


def test_a_manifest_whose_pages_changed_is_refused(tmp_path: Path) -> None:
    from video_files import tone, write_video

    write_video(tmp_path / "source" / "a.mp4", levels=[40] * 20, sound=tone(1, 440))
    prepare(tmp_path / "source", tmp_path / "p", PrepareSettings(n_frames=2, size=16), workers=1, progress=False)
    path = tmp_path / "p" / "manifest.parquet"
    data = bytearray(path.read_bytes())
    place = data.index(b"a.mp4") - 60  # in the first pages, in front of the names of files
    refused = 0
    for offset in range(place - 40, place):
        changed = data.copy()
        changed[offset] ^= 2
        path.write_bytes(changed)
        try:
            clips = PreparedClips.open(tmp_path / "p")
            assert list(clips.ids) == ["a"]
        except InputError as error:
            refused += "not a manifest" in str(error)
    assert refused >= 10

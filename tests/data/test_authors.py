from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path
from typing import Any

import clip_files
import numpy as np
import pytest
from PIL import Image

from avbench.data.corpus import authors_manifest
from avbench.data.corpus.authors import AuthorsClips
from avbench.errors import InputError, RunError


def test_reads_in_place(tmp_path: Path) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    assert list(clips.ids) == ["clip0", "clip1", "clip2"]
    assert clips.class_names == ("Cat, meow", "Dog", "Rain")
    assert clips.labels(1) == ("Dog", "Rain")
    assert clips.n_frames(0) == 3
    assert set(clips.splits) == {""}
    waveform, rate = clips.waveform(2)
    assert rate == 16000
    np.testing.assert_array_equal(waveform, clip_files.sound(2) / np.float32(32768))
    assert clips.frame(0, 2).shape == (64, 64, 3)


def test_a_missing_frame_is_the_one_before(tmp_path: Path) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    np.testing.assert_array_equal(clips.frame(1, 2), clips.frame(1, 1))
    np.testing.assert_array_equal(clips.frame(0, 9), clips.frame(0, 2))


def test_missing_files_name_clip_and_path(tmp_path: Path) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    (tmp_path / "audio" / "clip1.wav").unlink()
    with pytest.raises(RunError, match=r"clip 'clip1': .*clip1\.wav is missing"):
        clips.waveform(1)
    for k in range(3):
        (tmp_path / "frames" / f"frame_{k}" / "clip0.jpg").unlink()
    with pytest.raises(RunError, match=r"clip 'clip0': .*frame_0/clip0\.jpg is missing"):
        clips.frame(0, 2)
    (tmp_path / "audio" / "clip2.wav").write_bytes(b"")
    with pytest.raises(RunError, match=r"clip 'clip2': .*cannot be read"):
        clips.waveform(2)


def test_labels_are_optional(tmp_path: Path) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path, labels=False))
    assert clips.class_names == ("/m/a", "/m/b", "/m/c")
    assert clips.labels(1) == ("/m/a", "/m/b")
    manifest = tmp_path / "manifest.json"
    data = json.loads(manifest.read_text())
    for entry in data["data"]:
        del entry["labels"]
    manifest.write_text(json.dumps(data))
    assert AuthorsClips.open(manifest).labels(0) == ()


def test_labels_of_all_clips_at_once(tmp_path: Path) -> None:
    manifest = clip_files.authors(tmp_path)
    data = json.loads(manifest.read_text())
    data["data"][0]["labels"] = " /m/c, /m/a,,/m/c"
    data["data"][2]["labels"] = ""
    manifest.write_text(json.dumps(data))
    clips = AuthorsClips.open(manifest)
    assert len(clips.labels(0)) == 3
    for some in (clips, clips.select([2, 0, 0, 1]), clips.select([2]), clips.select([])):
        offsets, codes = some.label_codes()
        rows = [codes[a:b] for a, b in itertools.pairwise(offsets)]
        assert [tuple(some.class_names[c] for c in row) for row in rows] == [some.labels(i) for i in range(len(some))]


def test_label_file_by_its_published_name(tmp_path: Path) -> None:
    manifest = clip_files.authors(tmp_path)
    (tmp_path / "labels.csv").rename(tmp_path / "class_labels_indices_vgg.csv")
    assert AuthorsClips.open(manifest).class_names == ("Cat, meow", "Dog", "Rain")
    (tmp_path / "class_labels_indices_as.csv").write_text("index,mid,display_name\n0,/m/other,Other\n")
    assert AuthorsClips.open(manifest).class_names == ("Cat, meow", "Dog", "Rain")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mid,display_name\n/m/a,A\n", "no column 'index'"),
        ("index,mid,display_name\nx,/m/a,A\n", "line 2"),
        ("index,mid,display_name\n0,/m/a,A\n2,/m/b,B\n", "indices"),
        ("index,mid,display_name\n0,/m/a,A\n1,/m/b,B\n", "no row for the label '/m/c'"),
        ("", "no column 'index'"),
    ],
)
def test_wrong_label_file(tmp_path: Path, text: str, message: str) -> None:
    manifest = clip_files.authors(tmp_path, labels=False)
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        AuthorsClips.open(manifest, str(tmp_path / "mine.csv"))


def test_missing_label_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv"):
        AuthorsClips.open(clip_files.authors(tmp_path), str(tmp_path / "none.csv"))


ENTRY = {"video_id": "a", "wav": "a.wav", "video_path": "v", "labels": "x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[]", "no 'data'"),
        ('{"data": {}}', "not a list"),
        ('{"data": []}', "empty"),
        (json.dumps({"data": [ENTRY, {**ENTRY, "wav": 3}]}), "entry 1 has 'wav' 3"),
        (json.dumps({"data": [ENTRY, {"video_id": "b", "video_path": "v"}]}), "entry 1 lacks 'wav'"),
        (json.dumps({"data": [ENTRY, "b"]}), "entry 1 is not an object"),
        (json.dumps({"data": [ENTRY, {**ENTRY, "labels": ["x"]}]}), "entry 1 has 'labels'"),
        (json.dumps({"data": [ENTRY]}), "none of the first 1 sound files exists"),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_malformed_manifest(
    tmp_path: Path, content: Any, message: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(authors_manifest, "_LARGE", 0)
    path = tmp_path / "manifest.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        AuthorsClips.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_large_manifests_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = clip_files.authors(tmp_path)
    data = json.loads(manifest.read_text())
    data["data"][1]["extra"] = {"nested": [1, 2]}
    del data["data"][2]["labels"]
    manifest.write_text(json.dumps(data, indent=1))
    small = authors_manifest.read_manifest(manifest)
    monkeypatch.setattr(authors_manifest, "_LARGE", 0)
    assert authors_manifest.read_manifest(manifest).equals(small)


def test_stereo_and_other_wavs(tmp_path: Path) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    left, right = clip_files.sound(7), clip_files.sound(8)
    clip_files.write_wav(tmp_path / "audio" / "clip0.wav", np.stack([left, right], axis=1), rate=8000)
    waveform, rate = clips.waveform(0)
    assert rate == 8000
    np.testing.assert_allclose(waveform, (left.astype(np.float32) + right) / 65536, atol=1e-7)
    (tmp_path / "audio" / "clip1.wav").write_bytes(clip_files.flac(left))
    np.testing.assert_array_equal(clips.waveform(1)[0], left / np.float32(32768))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_pictures_are_converted(tmp_path: Path, mode: str) -> None:
    clips = AuthorsClips.open(clip_files.authors(tmp_path))
    buffer = io.BytesIO()
    Image.fromarray(clip_files.picture(0)).convert(mode).save(buffer, "JPEG")
    (tmp_path / "frames" / "frame_0" / "clip0.jpg").write_bytes(buffer.getvalue())
    assert clips.frame(0, 0).shape == (64, 64, 3)


def test_identity(tmp_path: Path) -> None:
    manifest = clip_files.authors(tmp_path)
    first = AuthorsClips.open(manifest)
    assert first.sha256 == AuthorsClips.open(manifest).sha256 == first.select([2, 0, 1]).sha256
    assert first.sha256 != first.select([0, 1]).sha256
    os.utime(tmp_path / "audio" / "clip0.wav", ns=(1, 1))
    assert first.sha256 != AuthorsClips.open(manifest).sha256


def test_relative_paths_start_from_the_manifest(tmp_path: Path) -> None:
    manifest = clip_files.authors(tmp_path)
    data = json.loads(manifest.read_text())
    for entry in data["data"]:
        entry["wav"] = os.path.relpath(entry["wav"], tmp_path)
        entry["video_path"] = "frames"
    manifest.write_text(json.dumps(data))
    clips = AuthorsClips.open(manifest)
    assert len(clips.waveform(0)[0]) == 16000
    assert clips.frame(0, 0).shape == (64, 64, 3)


def with_splits(folder: Path, *splits: Any) -> Path:
    """A manifest whose clips have these splits; None: no such field."""
    manifest = clip_files.authors(folder, n=len(splits))
    data = json.loads(manifest.read_text())
    for entry, split in zip(data["data"], splits, strict=True):
        if split is not None:
            entry["split"] = split
    manifest.write_text(json.dumps(data))
    return manifest


@pytest.mark.parametrize("large", [False, True])
def test_entries_may_have_a_split(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(authors_manifest, "_LARGE", 0)
    clips = AuthorsClips.open(with_splits(tmp_path, "Train", " eval", None, "val"))
    assert list(clips.splits) == ["train", "test", "", "tune"]
    assert list(clips.select([3, 1]).splits) == ["tune", "test"]
    other = AuthorsClips.open(with_splits(tmp_path, "train", "train", None, "val"))
    assert clips.sha256 != other.sha256


def test_a_manifest_of_empty_splits_is_the_same_as_without(tmp_path: Path) -> None:
    manifest = with_splits(tmp_path, "", "")
    empty = AuthorsClips.open(manifest).sha256
    data = json.loads(manifest.read_text())
    for entry in data["data"]:
        del entry["split"]
    manifest.write_text(json.dumps(data))
    assert AuthorsClips.open(manifest).sha256 == empty


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("split", ["unseen", 3])
def test_an_unknown_split_is_named(large: bool, split: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(authors_manifest, "_LARGE", 0)
    with pytest.raises(InputError, match=rf"entry 1 has 'split' '?{split}'?; valid: test, train, tune"):
        AuthorsClips.open(with_splits(tmp_path, "train", split))


def test_one_label_file_serves_two_manifests(tmp_path: Path) -> None:
    named = AuthorsClips.open(clip_files.authors(tmp_path / "a"))
    bare = AuthorsClips.open(clip_files.authors(tmp_path / "b", labels=False))
    for first, second in (AuthorsClips.alike(named, bare), AuthorsClips.alike(bare, named)):
        assert first.class_names == second.class_names == named.class_names
        assert first.labels(1) == second.labels(1) == ("Dog", "Rain")
    (tmp_path / "b" / "labels.csv").write_text("index,mid,display_name\n0,/m/c,Cat\n1,/m/a,Dog\n2,/m/b,Rain\n")
    other = AuthorsClips.open(tmp_path / "b" / "manifest.json")
    with pytest.raises(InputError, match=r"call '/m/c' 'Cat, meow' and 'Cat', valid: one for both"):
        AuthorsClips.alike(named, other)

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avbench.data.prepare.source import list_source
from avbench.errors import InputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_sub_folders_are_labels_and_order_is_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "dog/-b.mp4", "dog/deep/c.webm", "a.mkv", "cat/a b.MOV", ".hidden/x.mp4", "dog/.x.mp4", "notes.txt")
    files = list_source(tmp_path).files
    assert [(f.name, f.id, f.labels) for f in files] == [
        ("a.mkv", "a", ()),
        ("cat/a b.MOV", "a b", ("cat",)),
        ("dog/-b.mp4", "-b", ("dog",)),
        ("dog/deep/c.webm", "c", ("dog",)),
    ]


def test_ids_are_stems_where_unique_and_paths_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "y/a.mp4", "y/b.mp4", "y/b.webm", "c.d.mp4", "x__a.mp4")
    ids = {f.name: f.id for f in list_source(tmp_path).files}
    assert len(set(ids.values())) == 6
    assert ids["y/a.mp4"] == "y__a"
    assert ids["c.d.mp4"] == "c.d"
    assert ids["y/b.webm"] == "y__b.webm"


def test_links_that_form_a_ring_and_names_that_are_no_text(tmp_path: Path) -> None:
    touch(tmp_path, "a/b.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")).write_bytes(b"x")
    files = list_source(tmp_path).files
    assert [f.name for f in files] == ["\\xff.mp4", "a/b.mp4"]
    assert Path(files[0].path).exists()


def test_csv_names_files_labels_and_splits(tmp_path: Path) -> None:
    touch(tmp_path, "v/a.mp4", "v/b.anything")
    table = tmp_path / "list.csv"
    table.write_text('file,label,split\nv/b.anything,"dog barking, near;cat",val\nv/a.mp4,x,test\nv/a.mp4,y,test\n')
    first, second = list_source(table).files
    assert (first.id, first.labels, first.split) == ("a", ("x", "y"), "test")
    assert (second.id, second.labels, second.split) == ("b", ("dog barking, near", "cat"), "tune")


def test_the_hash_follows_names_labels_and_sizes(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.mp4")
    before = list_source(tmp_path).sha256
    assert list_source(tmp_path).sha256 == before
    (tmp_path / "dog/a.mp4").write_bytes(b"longer")
    assert list_source(tmp_path).sha256 != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.mp4,x\n", "found the columns name, label"),
        ("file,label\n", "no rows"),
        ("file,label,split\na.mp4,x,hold-out\n", "found split 'hold-out', valid: test, train, tune"),
        ("file,label\nnowhere.mp4,x\n", "none of its 1 files exists"),
        ("file,label\n,x\n", "found no file name"),
        ("file,label,split\na.mp4,x,train\na.mp4,x,test\n", "give it one"),
    ],
)
def test_a_wrong_csv_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        list_source(tmp_path / "list.csv")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_source_or_an_empty_one_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            list_source(path)


def test_csv_may_name_the_ids(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    table = tmp_path / "list.csv"
    table.write_text("file,label\na.mp4,x\nb.mp4,y\n")
    before = list_source(table).sha256
    table.write_text("file,id,label\nb.mp4,-1,y\na.mp4,2_0,x\na.mp4,2_0,z\n")
    named = list_source(table)
    assert [(f.name, f.id) for f in named.files] == [("a.mp4", "2_0"), ("b.mp4", "-1")]
    assert named.sha256 != before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,\n", "found no id"),
        ("a.mp4,1\nb.mp4,1\n", "the id '1' for several"),
        ("a.mp4,1\na.mp4,2\n", "give it one"),
    ],
)
def test_ids_that_name_no_file_or_several_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.csv").write_text("file,id\n" + rows)
    with pytest.raises(InputError, match=message):
        list_source(tmp_path / "list.csv")


def test_folders_that_cannot_be_read_and_lost_links_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.mp4", "a/locked/2.mp4", "locked/3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    scandir = os.scandir

    def closed(path: str) -> object:  # root may read everything, so permissions would not do
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert [file.name for file in list_source(tmp_path).files] == ["a/1.mp4", "a/locked/", "gone", "locked/"]

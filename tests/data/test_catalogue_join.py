"""Files on disk find their clips, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.data.catalogue.join import find_files, join
from avbench.data.catalogue.reading import AnnotationRow
from avbench.data.prepare.source import VIDEOS

ROWS = {
    row.id: row
    for row in (
        AnnotationRow("-_cdefghijk_000030", "test", (), "-_cdefghijk", 30.0),
        AnnotationRow("twiceclips1_000000", "train", (), "twiceclips1", 0.0),
        AnnotationRow("twiceclips1_000120", "train", (), "twiceclips1", 120.0),
        AnnotationRow("--startless", "test", (), "--startless"),
        AnnotationRow("video9", "test", (), "video9"),
        AnnotationRow("zerostart_1_000000", "test", (), "zerostart_1", 0.0),
    )
}


@pytest.mark.parametrize(
    ("file", "id"),
    [
        ("-_cdefghijk_000030.mp4", "-_cdefghijk_000030"),
        ("any/where/-_cdefghijk_000030.webm", "-_cdefghijk_000030"),
        ("-_cdefghijk.mp4", "-_cdefghijk_000030"),  # the list has the video once
        ("-_cdefghijk_30.mp4", "-_cdefghijk_000030"),
        ("-_cdefghijk_30.0_40.0.mp4", "-_cdefghijk_000030"),
        ("-_cdefghijk_30000_40000.mp4", "-_cdefghijk_000030"),  # milliseconds
        ("-_cdefghijk-30-40.mp4", "-_cdefghijk_000030"),
        ("twiceclips1_120_130.mp4", "twiceclips1_000120"),
        ("twiceclips1_0_10000.mp4", "twiceclips1_000000"),
        ("--startless_77.mp4", "--startless"),
        ("video9.mp4", "video9"),
    ],
)
def test_a_name_in_any_usual_form_is_found(file: str, id: str) -> None:
    assert join(ROWS, [file]).files == {id: file}


@pytest.mark.parametrize(
    "file",
    [
        "-_cdefghijk_31.mp4",
        "-_cdefghijk_30_40_50.mp4",
        "-_cdefghijk_300_30000.mp4",
        "zerostart_1_120_130.mp4",
        "video99.mp4",
        "VIDEO9.mp4",
        "other.mp4",
        "cdefghijk_000030.mp4",
    ],
)
def test_a_name_of_another_clip_is_extra(file: str) -> None:
    joined = join(ROWS, [file])
    assert joined.extra == (file,)
    assert not joined.files
    assert joined.missing == list(ROWS)


def test_a_name_that_fits_two_clips_is_none_of_them() -> None:
    joined = join(ROWS, ["twiceclips1.mp4"])
    assert joined.ambiguous == ("twiceclips1.mp4",)
    assert not joined.files


@pytest.mark.parametrize("order", [1, -1])
def test_the_file_named_by_the_id_goes_first(order: int) -> None:
    files = ["a/-_cdefghijk.mp4", "b/-_cdefghijk_000030.mp4"][::order]
    joined = join(ROWS, files)
    assert joined.files == {"-_cdefghijk_000030": "b/-_cdefghijk_000030.mp4"}
    assert joined.duplicates == ("a/-_cdefghijk.mp4",)


def test_files_are_found_once_and_hidden_ones_not(tmp_path: Path) -> None:
    for name in ("b/-x.MP4", "a.webm", ".hidden/c.mp4", "b/.d.mp4", "b/sound.wav", "out/e.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    found = find_files(tmp_path, VIDEOS, exclude=tmp_path / "out")
    assert found == [str(tmp_path / "a.webm"), str(tmp_path / "b" / "-x.MP4")]
    assert find_files(tmp_path / "b" / "..", VIDEOS, exclude=tmp_path / "out") == found

"""Official lists in all the forms in which they are written, and files that are no such list."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from avbench.data.catalogue.entry import entry
from avbench.data.catalogue.join import find_lists
from avbench.data.catalogue.reading import AnnotationRow
from avbench.data.catalogue.rows import read_rows
from avbench.errors import InputError


def read(root: Path, name: str, **files: str) -> dict[str, AnnotationRow]:
    """Reads lists given as file name (``__`` for ``.``) and text."""
    for file, text in files.items():
        (root / file.replace("__", ".")).write_text(text, encoding="utf-8")
    return read_rows(entry(name), find_lists(entry(name), root))


def test_vggsound_in_both_forms(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    rows = read(
        whole,
        "vggsound",
        vggsound__csv='---g-f_I2yQ,1,"bird chirping, tweeting",test\n--0PQM4-hqg,30,waterfall burbling,train\n',
    )
    assert rows["---g-f_I2yQ_000001"] == AnnotationRow(
        "---g-f_I2yQ_000001", "test", ("bird chirping, tweeting",), "---g-f_I2yQ", 1.0
    )
    assert rows["--0PQM4-hqg_000030"].split == "train"
    parts = read(
        tmp_path,
        "vggsound",
        test__csv="---g-f_I2yQ_000001.mp4,bird chirping_ tweeting\n",
        train__csv="--0PQM4-hqg_000030.mp4,waterfall burbling\n",
    )
    assert {id: row[:4] for id, row in parts.items()} == {id: row[:4] for id, row in rows.items()}


def test_of_two_files_with_the_same_part_the_first_is_read(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "vggsound",
        vggsound__csv="abcdefghijk,1,dog barking,train\n",
        test__csv="bbbbbbbbbbb_000001.mp4,dog barking\n",
    )
    assert list(rows) == ["abcdefghijk_000001"]


def test_audioset_has_comments_quotes_and_two_ways_to_write_seconds(tmp_path: Path) -> None:
    text = (
        '# Segments csv\n# YTID, start\n-abcdefghij, 30.000, 40.000, "/m/09x0r,/m/05zppz"\n0_cdefghijk,0,10,/m/09x0r\n'
    )
    rows = read(tmp_path, "audioset-eval", eval_segments__csv=text)
    assert rows["-abcdefghij"] == AnnotationRow(
        "-abcdefghij", "test", ("Speech", "Male speech, man speaking"), "-abcdefghij", 30.0
    )
    assert rows["0_cdefghijk"].labels == ("Speech",)


def test_a_clip_of_two_splits_is_a_test_clip_with_all_labels(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "ave",
        trainSet__txt="Church bell&aaaaaaaaaaa&good&0&10\nBark&bbbbbbbbbbb&good&0&10\n",
        testSet__txt="Male speech, man speaking&aaaaaaaaaaa&good&2&6\n",
    )
    assert rows["aaaaaaaaaaa"].split == "test"
    assert rows["aaaaaaaaaaa"].labels == ("Church bell", "Male speech, man speaking")
    assert rows["bbbbbbbbbbb"].split == "train"


def test_avsbench_clips_stand_for_five_frames(tmp_path: Path) -> None:
    text = "name,category,split\nx_y,helicopter,test\nz,helicopter,train\n"
    rows = read(tmp_path, "avsbench-s4", s4_meta_data__csv=text.partition("\n")[2])
    assert list(rows) == [f"x_y_{k}" for k in range(1, 6)]
    assert (rows["x_y_3"].picture, rows["x_y_3"].sound) == ("x_y_3", "x_y")


def test_avsbench_ms3_has_a_list_of_clips_and_one_of_frames(tmp_path: Path) -> None:
    clips = read(tmp_path, "avsbench-ms3", ms3_meta_data__csv="video_id,split\nx_y_0,test\nz_1,val\n")
    assert list(clips) == [f"x_y_0_{k}" for k in range(1, 6)]
    frames = read(tmp_path, "avsbench-ms3", avs1_ms3_test__csv='x_y_0_2,"guitar, violin"\nx_y_0_4,man\n')
    assert list(frames) == ["x_y_0_2", "x_y_0_4"]
    assert {(row.picture, row.sound, row.split) for row in frames.values()} == {
        ("x_y_0_2", "x_y_0", "test"), ("x_y_0_4", "x_y_0", "test")
    }  # fmt: skip
    with pytest.raises(InputError, match="found 'x_y_9', valid: CLIP_K,category"):
        read(tmp_path, "avsbench-ms3", avs1_ms3_test__csv="x_y_9\n")


def test_kinetics_ids_come_in_two_forms(tmp_path: Path) -> None:
    items = {
        "-_cdefghijk_000012_000022": {"subset": "training", "label": "playing_bass_guitar"},
        "abcdefghijk_12": {"subset": "validation", "annotations": {"label": "bowling"}},
    }
    rows = read(tmp_path, "kinetics-sounds", KS__json=json.dumps({"labels": [], "database": items}))
    first, second = rows.values()
    assert (first.video, first.start, first.labels, first.split) == (
        "-_cdefghijk", 12.0, ("playing bass guitar",), "train",
    )  # fmt: skip
    assert (second.video, second.start, second.split) == ("abcdefghijk", 12.0, "test")


def test_flickr_ids_come_in_three_forms(tmp_path: Path) -> None:
    rows = read(tmp_path, "flickr-soundnet", flickr_test_250__txt="10.jpg\n11\n12,202\n")
    assert list(rows) == ["10", "11", "12"]
    assert math.isnan(rows["10"].start)


def test_ade20k_rows_without_a_prompt_or_class_do_not_count(tmp_path: Path) -> None:
    text = (
        "image_location,vggsound_file,ade_class_id\n"
        "frames/a.jpg,s1.wav,12\nframes/a.jpg,s2.wav,12.0\nframes/a.jpg,,12\nframes/a.jpg,s1.wav,0\n"
    )
    rows = read(tmp_path, "ade20k-sound", prompted_segmentation__csv=text)
    assert {id: (row.picture, row.sound) for id, row in rows.items()} == {"a_12": ("a", "s1"), "a_12_2": ("a", "s2")}


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("vggsound", "vggsound.csv", "abc,1,dog barking\n", r"vggsound.csv:1: found 'abc,1,dog barking'"),
        ("vggsound", "vggsound.csv", "abc,one,dog barking,test\n", "found 'one', valid: a number of seconds"),
        ("vggsound", "vggsound.csv", "abc,1,dog barking,tset\n", "found 'tset', valid: a split"),
        ("vggsound", "vggsound.csv", "abc,1,cat barking,test\n", "unknown class of vggsound 'cat barking'"),
        ("vggsound", "vggsound.csv", "# nothing\n", "found no clip"),
        ("vggss", "vggss.json", "{", "cannot be read"),
        ("vggss", "vggss.json", '[{"video": "x"}]', "not a list of VGG-SS"),
        ("kinetics-sounds", "KS.json", '{"database": {"x": {"subset": "odd", "label": "bowling"}}}', "not a list of"),
        ("msrvtt", "MSRVTT_JSFUSION_test.csv", "key,sentence\n1,a\n", "a header with video_id"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused_in_one_line(
    tmp_path: Path, name: str, file: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, name, **{file.replace(".", "__"): text})
    assert "\n" not in str(caught.value)


def test_a_list_under_another_name_is_told_by_its_split_and_form(tmp_path: Path) -> None:
    own = tmp_path / "my_vgg_train_list.csv"
    own.write_text("abcdefghijk_000001.mp4,dog barking\n")
    ((which, path),) = find_lists(entry("vggsound"), tmp_path, [own])
    assert (which.split, path) == ("train", own)
    with pytest.raises(InputError, match="not the form of a list of VGGSound"):
        find_lists(entry("vggsound"), tmp_path, [tmp_path / "x.json"] if (tmp_path / "x.json").write_text("[]") else [])


def test_no_list_says_where_it_is_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no official list in .*Oxford VGG"):
        find_lists(entry("vggsound"), tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        find_lists(entry("vggsound"), tmp_path, [tmp_path / "nothing.csv"])

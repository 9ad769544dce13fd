"""Readers of annotation files: the traps of the public ones, both forms of each, and errors that name what is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avbench.data.annotations import boxes
from avbench.data.annotations.ade20k import read_ade20k
from avbench.data.annotations.avsbench import read_avsbench
from avbench.data.annotations.flickr import read_flickr, read_ids
from avbench.data.annotations.negatives import read_negatives
from avbench.data.annotations.read import detect, read_annotations
from avbench.data.annotations.soundshapes import MaskFile, read_soundshapes
from avbench.data.annotations.vggss import vggsound_name
from avbench.data.soundshapes import make
from avbench.data.soundshapes.factors import clip_factors
from avbench.data.soundshapes.render import render
from avbench.errors import InputError

HUGE = -2.9e16


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def slow_mask(found: list[list[float]], size: int) -> np.ndarray:
    mask = np.zeros((size, size))
    for left, top, right, bottom in found:
        for y in range(size):
            for x in range(size):
                edges = [int(min(max(v, 0), 1) * size) for v in (left, top, right, bottom)]
                if edges[1] <= y < edges[3] and edges[0] <= x < edges[2]:
                    mask[y, x] = 1
    return mask


@pytest.mark.parametrize("rule", boxes.RULES)
@pytest.mark.parametrize(
    "found",
    [
        [[0.1, 0.2, 0.55, 0.9]],
        [[0.0, 0.0, 0.5, 0.5], [0.4, 0.4, 1.0, 1.0]],
        [[HUGE, 0.2, 0.5, 1.7]],
        [[0.5, 0.5, 0.5, 0.9]],
        [[0.7, 0.1, 0.2, 0.9]],
        [],
    ],
)
def test_boxes_are_drawn_as_the_references_do(rule: boxes.Rule, found: list[list[float]]) -> None:
    assert np.array_equal(boxes.rasterise(found, 13, rule=rule), slow_mask(found, 13))


def test_boxes_move_with_the_crop() -> None:
    # A picture of 2:1 whose middle half is seen: a quarter of its width is cut on each side.
    assert boxes.cropped(np.array([[0.25, 0.0, 0.5, 1.0]]), 2.0).tolist() == [[0.0, 0.0, 0.5, 1.0]]
    assert boxes.cropped(np.array([[0.0, 0.0, 0.2, 1.0]]), 2.0).tolist() == [[0.0, 0.0, 0.0, 1.0]]
    assert boxes.cropped(np.array([[0.0, 0.25, 1.0, 0.75]]), 0.5).tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert boxes.rasterise([[0, 0, 100, 100]], 8, aspect=2.0, scale=200).sum() == 4 * 4


def test_flickr_consensus_and_scale(tmp_path: Path) -> None:
    file = write(tmp_path / "boxes.json", {"7": [[0, 0, 128, 256], [64, 0, 256, 256], [64, 0, 96, 256]], "8": []})
    found = read_flickr(file)
    row = found.masks([0])[0][0]
    assert found.ids == ["7", "8"]
    assert (row[:56] == 0.5).all()
    assert (row[56:112] == 1).all()
    assert (row[112:] == 0.5).all()
    assert found.masks([1]).sum() == 0


def test_flickr_xml_equals_json(tmp_path: Path) -> None:
    all_boxes = [[1, 2, 200, 256], [30, 40, 50, 60]]
    xml = "".join(
        f"<annotator><bbox><object>1</object>{''.join(f'<c>{v}</c>' for v in box)}</bbox></annotator>"
        for box in all_boxes
    )
    folder = tmp_path / "xml"
    folder.mkdir()
    (folder / "42.xml").write_text(f"<annotation><name><kind>x</kind></name>{xml}</annotation>", encoding="utf-8")
    assert detect(folder) == "flickr"
    other = read_flickr(write(tmp_path / "boxes.json", {"42": all_boxes}))
    assert np.array_equal(read_flickr(folder).masks([0]), other.masks([0]))


def test_public_flickr_lists(shared: Path) -> None:
    folder = shared / "data/annotations/flickr_soundnet"
    ids = read_ids(folder / "flickr_test_250.txt")
    assert len(ids) == 250
    assert len(read_ids(folder / "flickr_test_249.csv")) == 249
    found = read_annotations(folder / "boxes_2786.json", subset=folder / "flickr_test_250.txt")
    assert found.ids == ids
    truth = found.masks(range(len(found)))
    assert set(np.unique(truth)) == {0.0, 0.5, 1.0}
    # The whole image reaches 48 % here. (Issue threads name 60.8 %; boxes left in 256 pixels would give 60 %.)
    whole = truth.sum(axis=(1, 2)) / (truth.sum(axis=(1, 2)) + (truth == 0).sum(axis=(1, 2)))
    assert (whole >= 0.5).mean() == pytest.approx(0.48)
    negatives = read_negatives(folder / "flickr_test_plus_silent.csv")
    assert len(negatives) == 250
    assert all(sample.truth is None for sample in negatives)


def test_public_vggss(shared: Path) -> None:
    folder = shared / "data/annotations"
    found = read_annotations(folder / "vggss/vggss.json")
    assert (found.protocol, len(found), len({s.label for s in found})) == ("vggss", 5158, 221)
    with (folder / "vggsound/stat.csv").open(encoding="utf-8", newline="") as handle:
        official = {row[0].strip() for row in csv.reader(handle)}
    assert {s.label for s in found} <= official
    with (folder / "vggsound/class_labels_indices_vgg.csv").open(encoding="utf-8", newline="") as handle:
        names = [row["display_name"] for row in csv.DictReader(handle)]
    assert sum("_" in name for name in names) == 23
    assert {vggsound_name(name) for name in names} <= official
    negatives = read_negatives(folder / "vggss/vggss_test_plus_silent.csv", time=5.0)
    assert len(found.with_negatives(negatives)) == 2 * 5158
    heard = read_annotations(folder / "vggss/vggss.json", subset=folder / "vggss/vggss_heard_test.csv")
    assert len(heard) == len(read_ids(folder / "vggss/vggss_heard_test.csv"))


def test_public_is3_has_two_sources_a_picture(shared: Path) -> None:
    found = read_annotations(shared / "data/annotations/is3/synthetic3240_bbox.json")
    assert (found.protocol, len(found)) == ("is3", 6480)
    pictures = [sample.picture for sample in found]
    assert len(set(pictures)) == 3240
    assert all(pictures.count(name) == 2 for name in pictures[:20])
    assert found.samples[0].label in found.samples[0].picture.split("_")[:2]


def test_avsbench_boxes_and_masks(tmp_path: Path, shared: Path) -> None:
    found = read_annotations(shared / "data/annotations/avsbench/s4_box.json")
    assert (found.protocol, len(found), len({s.picture for s in found})) == ("avsbench_boxes", 3700, 740)
    assert found.samples[0].label == "helicopter"
    assert found.samples[1].time == 1.5
    clip = tmp_path / "masks" / "helicopter" / "0d9u2CymIxc"
    clip.mkdir(parents=True)
    picture = np.zeros((224, 224), np.uint8)
    picture[10:20, 30:50] = 255
    Image.fromarray(picture).save(clip / "0d9u2CymIxc_1.png")
    masks = read_annotations(tmp_path / "masks")
    assert (masks.protocol, masks.ids, masks.samples[0].picture_clip) == (
        "avsbench",
        ["0d9u2CymIxc_1"],
        "0d9u2CymIxc",
    )
    assert np.array_equal(masks.masks([0])[0], picture > 0)
    (clip / "0d9u2CymIxc_1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as a picture"):
        masks.masks([0])


def test_ade20k_decodes_classes_and_skips_rows_without_prompt(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    number = 1831  # red 70, green 39
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:, 200:] = (73, 39, 200)
    Image.fromarray(picture).save(tmp_path / "annotations" / "ADE_val_1_seg.png")
    rows = [
        ("frames/ADE_val_1.jpg", "a.wav", str(number)),
        ("frames/ADE_val_1.jpg", "b.wav", f"{number}.0"),
        ("frames/ADE_val_1.jpg", "", "5"),
        ("frames/ADE_val_1.jpg", "c.wav", "0"),
    ]
    lines = ["image_location,vggsound_file,ade_class_id,timing", *(",".join([*row, ""]) for row in rows)]
    (tmp_path / "prompted_segmentation.csv").write_text("\n".join(lines), encoding="utf-8")
    assert detect(tmp_path) == "ade20k"
    found = read_ade20k(tmp_path)
    assert found.ids == [f"ADE_val_1_{number}", f"ADE_val_1_{number}_2"]
    mask = found.masks([0])[0]
    # 400 x 300 becomes 298 x 224, of which columns 37 to 260 are kept: the edge at 149 comes to 112.
    assert mask[:, :112].sum() == 0
    assert mask[:, 112:].all()


def test_soundshapes_masks_are_of_the_judged_frame(tmp_path: Path) -> None:
    make(tmp_path, train=0, tune=0, test=3, seed=5, workers=0, progress=False)
    file = MaskFile(tmp_path / "masks.npz")
    ids = [*file.clips, "another"]
    times = [0.25, 1.5, 2.0, 0.0]
    found = read_soundshapes(file, ids, times)
    assert found.ids == file.clips
    for index, time in enumerate(times[:3]):
        expected = render(clip_factors(5, "test", index)).mask(time)
        assert np.array_equal(found.masks([index])[0], expected)
    half = MaskFile(tmp_path / "masks.npz")
    small = read_soundshapes(half)
    small.size //= 2
    assert small.masks([0]).shape[1:] == (found.size // 2, found.size // 2)
    with pytest.raises(InputError, match="none of 1 clips"):
        read_soundshapes(file, ["another"], [0.0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"file": "a", "class": "b"}], "found no annotations"),
        ([{"file": "a", "class": "b", "bbox": [[1, 2, 3]]}], "valid: boxes of four numbers"),
        ([{"file": "a", "class": "b", "bbox": []}, {"file": "c", "class": "b"}], "entry 1 lacks bbox"),
        ([{"file": "a", "class": "b", "bbox": []}] * 2, "a second time"),
        ([], "found no annotations"),
        ({"a": [[1, 2, 3, "x"]]}, "valid: boxes of four numbers"),
        ({}, "found no annotation"),
        (3, "found no annotations"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "x.json", content)
    with pytest.raises(InputError, match=message):
        read_annotations(path)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_annotations(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_annotations(tmp_path / "x.json")
    (tmp_path / "y.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"cannot be read as \.npz; valid: masks"):
        read_annotations(tmp_path / "y.npz")
    (tmp_path / "n.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="found columns a, b"):
        read_negatives(tmp_path / "n.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="found no annotations"):
        detect(tmp_path / "folder")
    with pytest.raises(InputError, match=r"no \.png"):
        read_avsbench(tmp_path / "folder")


def test_a_subset_without_annotation_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"file": "a", "class": "b", "bbox": []}])
    (tmp_path / "ids.txt").write_text("a\nzz\n", encoding="utf-8")
    with pytest.raises(InputError, match="1 of 2 ids have no annotation, such as zz"):
        read_annotations(path, subset=tmp_path / "ids.txt")

"""Frames that are stretched or cropped to the model's square, and what is said of boxes that do not fit them."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avbench import registry
from avbench.config import InputConfig
from avbench.data.corpus.changed import changed
from avbench.errors import InputError
from avbench.store.extracted import Tokens
from avbench.tasks.localization import CONFIG, TASK
from avbench.tasks.localizing import framing
from avbench.tasks.localizing.options import LocalizationConfig

from .localization_subject import FakeClips, FakeSubject, planted, subject

WIDE, HIGH = 64, 32
BOX = [0.0, 0.25, 0.25, 0.75]  # left of the middle square of a frame of 2:1


class Pictured(FakeClips):
    """Frames of 2:1 with a white area where the box is."""

    def frame(self, i: int, k: int) -> np.ndarray:
        frame = np.zeros((HIGH, WIDE, 3), np.uint8)
        frame[int(BOX[1] * HIGH) : int(BOX[3] * HIGH), int(BOX[0] * WIDE) : int(BOX[2] * WIDE)] = 255
        return frame


def options(**changes: Any) -> LocalizationConfig:
    return CONFIG(**{"resamples": 0, "pictures": 0, **changes})


def model_and_boxes(tmp_path: Path, clips: type[FakeClips] = Pictured) -> tuple[FakeSubject, str]:
    ids = [f"clip_{i}" for i in range(4)]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([{"file": name, "class": "a", "bbox": [BOX]} for name in ids]), encoding="utf-8")
    visual, sound = planted(np.zeros((4, 1, 8, 8)))
    return subject(tmp_path, ids, visual, sound, grid=(8, 8), clips=clips(ids, root=tmp_path, seconds=np.nan)), str(
        path
    )


def test_stretched_frames_hold_the_whole_frame() -> None:
    clips = changed(Pictured(["a", "b"]), framing.Stretch(16))  # type: ignore[arg-type]
    frame = clips.frame(0, 0)
    assert frame.shape == (16, 16, 3)
    assert frame[8, 1, 0] > 250
    assert frame[8, 8:].max() < 5
    assert len(clips) == 2
    assert clips.labels(1) == ("b",)
    assert list(clips.ids) == ["a", "b"]
    assert pickle.loads(pickle.dumps(clips)).frame(1, 0).tolist() == frame.tolist()  # as readers' processes get it


def test_stretched_tokens_fit_the_boxes(tmp_path: Path) -> None:
    model, path = model_and_boxes(tmp_path)
    config = options(annotations=path, image="stretch", pictures=4, picture_folder=str(tmp_path / "sheets"))
    run = SimpleNamespace(task=config, input=model.config.input)
    clips = TASK.framed(model.evaluated, run)  # type: ignore[arg-type]
    cells = np.stack([clips.frame(i, 0)[2::4, 2::4, 0] for i in range(len(clips))]) / 255.0  # of 4 x 4 pixels
    visual = np.stack([cells.reshape(len(clips), -1), 1 - cells.reshape(len(clips), -1)], axis=-1)
    sound = np.tile(np.float32([1, 0]), (len(clips), 1, 1))
    model.made = Tokens(list(clips.ids), visual[:, None].astype(np.float32), sound, None, None, (8, 8))
    found = TASK.run(model, config).per_sample["map"][0]  # type: ignore[arg-type]
    assert found[4, 0] > 0.9 > 0.1 > found[4, 4]  # the white area is where the box is, in the whole frame
    (sheet,) = (tmp_path / "sheets").glob("*.png")
    with Image.open(sheet) as image:
        assert image.width > 600


def test_tokens_of_stretched_frames_are_others_than_those_of_cropped_ones() -> None:
    clips = Pictured(["a", "b"])
    crop, small, large = (
        TASK.framed(clips, SimpleNamespace(task=options(image=image), input=InputConfig(image_size=size)))  # type: ignore[arg-type]
        for image, size in (("crop", 16), ("stretch", 16), ("stretch", 32))
    )
    assert crop is clips
    assert len({clips.sha256, small.sha256, large.sha256}) == 3


def test_frames_and_boxes_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.box_mapping: found crop, valid with task\.image=stretch"):
        options(image="stretch", box_mapping="crop")
    clips = FakeClips(["a"])
    frames = np.zeros(1, np.int64)
    with pytest.raises(InputError, match=r"task\.image: found stretch, but all stored frames are square"):
        framing.check_frames(clips, [0], frames, options(image="stretch"))  # type: ignore[arg-type]
    model, _ = model_and_boxes(tmp_path)
    Image.new("L", (8, 8), 255).save(tmp_path / "clip_1.png")
    with pytest.raises(InputError, match=r"task\.image: found stretch, valid with masks: crop"):
        TASK.run(model, options(annotations=str(tmp_path), image="stretch"))


def test_misplaced_boxes_are_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "avbench")
    model, path = model_and_boxes(tmp_path)
    TASK.run(model, options(annotations=path))
    assert "task.image=stretch or task.box_mapping=crop puts them right" in caplog.text
    caplog.clear()
    TASK.run(model, options(annotations=path, box_mapping="crop"))
    assert not caplog.text
    model, path = model_and_boxes(tmp_path, FakeClips)
    TASK.run(model, options(annotations=path))
    assert not caplog.text  # squares, for all that is known
    (tmp_path / "prepare.json").write_text('{"settings": {"crop": "centre"}}', encoding="utf-8")
    TASK.run(model, options(annotations=path))
    assert "frames prepared with --crop none" in caplog.text


@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_controls_of_masks_mark_half_of_the_picture(tmp_path: Path, activation: Any) -> None:
    mask = np.zeros((224, 224), np.uint8)
    mask[56:168, 56:168] = 255
    folder = tmp_path / "masks"
    folder.mkdir()
    for clip in ("one", "two"):
        Image.fromarray(mask).save(folder / f"{clip}_1.png")
    maps = np.stack([mask / 255.0] * 2) if activation == "none" else np.stack([mask - 100.0] * 2)
    np.savez(tmp_path / "maps.npz", id=["one_1", "two_1"], map=maps)
    found = TASK.evaluate_heatmaps(tmp_path / "maps.npz", folder, options(activation=activation)).metrics
    for name in ("mIoU", "F", "oracle/mIoU", "oracle/F"):
        assert found[name] == pytest.approx(1), name
    assert found["whole_image/mIoU"] == pytest.approx(0.25)
    assert found["centre_disc/mIoU"] == pytest.approx(0.5, abs=0.02)  # a disc of half the area holds the mask
    assert found["whole_image/F"] < found["centre_disc/F"] < 1
    assert found["random/mIoU"] < 0.4


def test_options_of_tokens_are_refused_with_heat_maps(tmp_path: Path) -> None:
    for changes in ({"sign": "negative"}, {"centring": "train"}, {"image": "stretch"}, {"frame": 3}):
        (name,) = changes
        with pytest.raises(InputError, match=rf"task\.{name}: found .*, not used with heat maps"):
            TASK.evaluate_heatmaps(tmp_path / "x.npz", tmp_path, options(**changes))


@pytest.mark.parametrize("name", ["localization", "reconstruction", "shuffled_pairs", "classification", "linear_probe"])
def test_tables_name_their_columns(name: str) -> None:
    columns = registry.find("task", name).card["columns"]
    assert columns
    assert len(set(columns)) == len(columns)
    assert not any("/" in column for column in columns)  # only the last part of a key is compared


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "flickr: found no annotation"),
        ([{"file": "a", "class": "b", "bbox": []}] * 2, "vggss: found 1 ids a second time"),
        ({"labels": ["dog", "cat"]}, "found no annotations that are known"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    np.savez(tmp_path / "maps.npz", id=["a"], map=np.zeros((1, 4, 4)))
    with pytest.raises(InputError) as error:
        TASK.evaluate_heatmaps(tmp_path / "maps.npz", path, options())
    assert str(error.value).startswith(f"{path}: {message}")


def test_text_is_no_file_of_maps(tmp_path: Path) -> None:
    (tmp_path / "maps.npz").write_text("hello", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot be read as \.npz; valid: an \.npz with id"):
        TASK.evaluate_heatmaps(tmp_path / "maps.npz", tmp_path, options())
    np.savez(tmp_path / "maps.npz", id=np.zeros(0, "U1"), map=np.zeros((0, 4, 4)))
    with pytest.raises(InputError, match=r"id: found shape \(0,\)"):
        TASK.evaluate_heatmaps(tmp_path / "maps.npz", tmp_path, options())

"""Pictures and sound files in the official layouts: prepared, and each picture judged with the right sound."""

from __future__ import annotations

import csv
import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avbench.data.catalogue.entry import entry
from avbench.data.catalogue.prepare import prepare_set
from avbench.data.corpus.authors import AuthorsClips
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.tasks.localization import CONFIG, TASK
from avbench.tasks.localizing.heatmaps import upsample
from avbench.tasks.localizing.inputs import judged_samples

from .localization_subject import FakeSubject, subject

RATE = 16000


def write(folder: Path, picture: str, sound: str, number: int) -> None:
    """Writes a picture and a sound that say which they are: ``number`` in its grey level and in its frequency."""
    for path in (folder / picture, folder / sound):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((60, 80, 3), 20 * number + 10, np.uint8)).save(folder / picture)
    tone = 8000 * np.sin(2 * np.pi * 200 * (number + 1) * np.arange(RATE) / RATE)
    with wave.open(str(folder / sound), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(tone.astype("<i2").tobytes())


def heard(clips: AuthorsClips, row: int) -> int:
    """Returns the number that a clip's sound says."""
    waveform, rate = clips.waveform(row)
    return round(np.abs(np.fft.rfft(waveform)).argmax() * rate / len(waveform) / 200) - 1


def shown(clips: AuthorsClips, row: int) -> int:
    """Returns the number that a clip's picture says."""
    return round((float(clips.frame(row, 0).mean()) - 10) / 20)


def is3(folder: Path) -> tuple[str, str, dict[str, tuple[int, int]]]:
    entries, pairs = [], {}
    for i in range(4):
        name = f"cat_dog_{i // 2}_{'cat' if i % 2 else 'dog'}"
        write(folder, f"visual_frames/{name}.jpg", f"audio_wav/{name}.wav", i)
        entries.append({"image": f"/x/{name}.jpg", "audio": f"/y/{name}.wav", "gt_box": [10.0, 10.0, 99.0, 99.0]})
        pairs[name] = (i, i)
    (folder / "synthetic3240_bbox.json").write_text(json.dumps(entries), encoding="utf-8")
    return "is3", "synthetic3240_bbox.json", pairs


def flickr(folder: Path) -> tuple[str, str, dict[str, tuple[int, int]]]:
    names = [str(1000 + i) for i in range(4)]
    for i, name in enumerate(names):
        write(folder, f"frames/{name}.jpg", f"audio/{name}.wav", i)
    boxes = {name: [[10, 10, 120, 120], [20, 20, 130, 130]] for name in names}
    (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    (folder / "test_flickr_250.txt").write_text("\n".join(f"{name}.jpg" for name in names), encoding="utf-8")
    lines = ["video,audio,label", *(f"{names[i]},{names[i - 1]},non-sounding" for i in range(4))]
    (folder / "plus_silent.csv").write_text("\r\n".join(lines), encoding="utf-8")
    pairs = {name: (i, i) for i, name in enumerate(names)}
    return "flickr-soundnet", "boxes.json", pairs | {f"{names[i]}+{names[i - 1]}": (i, (i - 1) % 4) for i in range(4)}


def avsbench(folder: Path) -> tuple[str, str, dict[str, tuple[int, int]]]:
    rows, pairs = [], {}
    mask = np.zeros((224, 224), np.uint8)
    mask[20:90, 30:99] = 255
    for i, clip in enumerate(("aaaaaaaaaaa", "-b_bbbbbbbb")):
        for k in range(1, 6):
            number = 5 * i + k - 1
            place = f"test/helicopter/{clip}/{clip}_{k}.png"
            # The sound of the last frame written stays: that of the clip.
            write(folder, f"visual_frames/{place}", f"audio_wav/test/helicopter/{clip}.wav", number)
            (folder / "gt_masks" / place).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(folder / "gt_masks" / place)
            rows.append(f"{clip}_{k},helicopter")
            pairs[f"{clip}_{k}"] = (number, 5 * i + 4)
    (folder / "s4_test.csv").write_text("\n".join(rows), encoding="utf-8")
    return "avsbench-s4", "gt_masks", pairs


def ms3(folder: Path) -> tuple[str, str, dict[str, tuple[int, int]]]:
    """Several objects, one or none in a frame; frames are called otherwise than masks."""
    pairs = {}
    masks = np.zeros((3, 224, 224), np.uint8)
    masks[:2, 20:90, 30:99] = 1  # indices of a palette, as the masks of the set
    masks[0, 150:200, 120:190] = 2
    for i, clip in enumerate(("aaaaaaaaaaa_0", "-b_bbbbbbbb")):
        for k in range(1, 6):
            number = 5 * i + k - 1
            write(folder, f"visual_frames/{clip}/{clip}.mp4_{k}.png", f"audio_wav/test/{clip}.wav", number)
            target = folder / "gt_masks" / "test" / clip / f"{clip}_{k}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(masks[k % 3], "P")
            picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
            picture.save(target)
            pairs[f"{clip}_{k}"] = (number, 5 * i + 4)
    lines = ["video_id,split", "aaaaaaaaaaa_0,test", "-b_bbbbbbbb,test", "ccccccccccc,train"]
    (folder / "ms3_meta_data.csv").write_text("\n".join(lines), encoding="utf-8")
    return "avsbench-ms3", "gt_masks/test", pairs


def by_definition(probability: np.ndarray, mask: np.ndarray) -> tuple[float, np.ndarray | None]:
    """IoU and the F-scores at 255 thresholds of one frame, pixel by pixel as AVSBench defines them."""
    marked = probability > 0.5
    if not mask.any():
        return float((~marked).sum() / (mask.size + 1e-7)), None
    iou = (marked & mask).sum() / ((marked | mask).sum() + 1e-7)
    scores = []
    for threshold in np.linspace(0, 1 - 1e-10, 255):
        named = probability >= threshold
        right = (named & mask).sum()
        precision, recall = right / (named.sum() + 1e-20), right / (mask.sum() + 1e-20)
        below = 0.3 * precision + recall
        scores.append(1.3 * precision * recall / below if below > 0 else 0.0)
    return float(iou), np.array(scores)


def test_ms3_is_scored_by_its_own_definition(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    name, annotations, pairs = ms3(tmp_path / "set")
    model = prepared(tmp_path, name)
    config = CONFIG(annotations=str(tmp_path / "set" / annotations), resamples=0, pictures=0)
    result = TASK.run(model, config)
    judged = judged_samples(model, config)
    assert {sample.label for sample in judged.annotations} == {""}
    maps = upsample(result.per_sample["map"], 224, "bilinear").astype(np.float64)
    truths = judged.annotations.masks(range(len(pairs))) > 0
    assert sorted(truths.sum(axis=(1, 2)).tolist()) == [0] * 4 + [70 * 69] * 4 + [70 * 69 + 50 * 70] * 2
    found = [by_definition(1 / (1 + np.exp(-each)), truth) for each, truth in zip(maps, truths, strict=True)]
    assert result.metrics["mIoU"] == pytest.approx(np.mean([iou for iou, _ in found]), abs=1e-6)
    curves = [curve for _, curve in found if curve is not None]
    assert result.metrics["F"] == pytest.approx(np.mean(curves, axis=0).max(), abs=1e-6)


def ade20k(folder: Path) -> tuple[str, str, dict[str, tuple[int, int]]]:
    rows, pairs = [], {}
    for i in range(4):
        name = f"ADE_train_0000000{i}"
        write(folder, f"frames/training/{name}.jpg", f"audio/clip{i}_000030.wav", i)
        labels = np.zeros((60, 80, 3), np.uint8)
        labels[10:40, 20:60] = (10, 7 + i % 2, 0)
        (folder / "annotations/training").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(folder / f"annotations/training/{name}_seg.png")
        # The prompt of a scene is another file's sound.
        rows.append((f"training/{name}.jpg", f"clip{3 - i}_000030.wav", f"{256 + 7 + i % 2}.0", ""))
        pairs[f"{name}_{256 + 7 + i % 2}"] = (i, 3 - i)
    with (folder / "prompted_segmentation.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("image_location", "vggsound_file", "ade_class_id", "timing"), *rows])
    return "ade20k-sound", ".", pairs


def prepared(folder: Path, name: str) -> FakeSubject:
    """Returns a subject of what is prepared, whose tokens are noise."""
    prepare_set(entry(name), folder / "set", folder / "out", PrepareSettings(), progress=False)
    clips = AuthorsClips.open(folder / "out" / "manifest.json")
    rng = np.random.default_rng(0)
    visual, sound = rng.normal(size=(len(clips), 1, 16, 4)), rng.normal(size=(len(clips), 1, 4))
    found = subject(
        folder, list(clips.ids), visual.astype(np.float32), sound.astype(np.float32), grid=(4, 4), source="manifest"
    )
    found.evaluated = clips
    return found


@pytest.mark.parametrize("make", [is3, flickr, avsbench, ms3, ade20k])
def test_each_picture_is_judged_with_its_sound(
    tmp_path: Path, make: Callable[[Path], tuple[str, str, dict[str, tuple[int, int]]]]
) -> None:
    (tmp_path / "set").mkdir()
    name, annotations, pairs = make(tmp_path / "set")
    model = prepared(tmp_path, name)
    negatives = tmp_path / "set" / "plus_silent.csv"
    config = CONFIG(
        annotations=str(tmp_path / "set" / annotations),
        negatives=str(negatives) if negatives.exists() else "",
        resamples=0,
        pictures=2,
    )
    judged = judged_samples(model, config)
    clips = model.evaluated
    found = {
        sample: (shown(clips, int(picture)), heard(clips, int(sound)))
        for sample, picture, sound in zip(judged.annotations.ids, judged.pictures, judged.sounds, strict=True)
    }
    assert found == pairs
    result = TASK.run(model, config)
    assert result.n == len(pairs)
    rows = {key.partition("/")[0] for key in result.metrics if "/" in key}
    assert {"oracle", "centre_disc", "whole_image", "random", "wrong_audio", "gain"} <= rows
    assert (model.folder / "pictures").is_dir()

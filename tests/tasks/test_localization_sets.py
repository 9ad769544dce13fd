"""The localization task by the protocols of IS3, AVSBench and ADE20K: pictures of several sounds, masks, classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from avbench.data.annotations.read import read_annotations
from avbench.errors import InputError
from avbench.metrics.shares import wilson
from avbench.tasks.localization import TASK

from .localization_subject import FakeClips, N, boxed, options, planted, recomputed, subject


def test_is3_judges_both_sources_of_a_picture(tmp_path: Path) -> None:
    _, _, masks = boxed(tmp_path)
    entries, ids = [], []
    for i in range(N):
        rows, columns = np.flatnonzero(masks[i, 0].any(axis=1)), np.flatnonzero(masks[i, 0].any(axis=0))
        box = [28 * columns[0], 28 * rows[0], 28 * (columns[-1] + 1), 28 * (rows[-1] + 1)]
        name = f"cat_dog_{i // 2}_{'cat' if i % 2 else 'dog'}"
        entries.append({"image": f"/x/{name}.jpg", "audio": f"/y/{name}.wav", "gt_box": [float(v) for v in box]})
        ids.append(name)
    path = tmp_path / "is3.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    visual, sound = planted(masks)
    visual[1] = -visual[1]  # one of two sources is not found
    result = TASK.run(subject(tmp_path, ids, visual, sound, grid=(8, 8)), options(annotations=str(path)))
    assert result.metrics["cIoU@0.5"] == pytest.approx((N - 1) / N)
    assert result.metrics["IIoU@0.5"] == pytest.approx((N / 2 - 1) / (N / 2))
    assert result.metrics["IAUC"] < result.metrics["AUC"]
    assert result.metrics["oracle/cIoU_adaptive@0.5"] == 1
    assert set(result.ci95) >= {"IIoU@0.5", "AUC_adaptive"}
    assert result.ci95["IIoU@0.5"] == pytest.approx(wilson(result.metrics["IIoU@0.5"], N / 2))
    # Two sources of one picture are two samples, of which one is found here: no more alike than strangers.
    assert result.ci95["cIoU@0.5"] == pytest.approx(wilson((N - 1) / N, N))
    assert recomputed(result, options()) == result.metrics


def avs_masks(tmp_path: Path, n: int = 6, frames: int = 5) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(1)
    masks = np.zeros((n, frames, 8, 8))
    ids = [f"video{i}" for i in range(n)]
    for i in range(n):
        folder = tmp_path / "masks" / "dog" / ids[i]
        folder.mkdir(parents=True)
        for k in range(frames):
            top, left = rng.integers(0, 5, 2)
            masks[i, k, top : top + 4, left : left + 4] = 1
            if (i, k) == (2, 3):
                masks[i, k] = 0
            Image.fromarray((np.kron(masks[i, k], np.ones((28, 28))) * 255).astype(np.uint8)).save(
                folder / f"{ids[i]}_{k + 1}.png"
            )
    return ids, masks


def test_avsbench_masks_give_miou_and_f_of_the_whole_set(tmp_path: Path) -> None:
    ids, masks = avs_masks(tmp_path)
    visual, sound = planted(masks)
    clips = FakeClips(ids, frames=5, seconds=5.0)
    model = subject(tmp_path, ids, visual, sound, grid=(8, 8), clips=clips)
    clips.frame_times = lambda i: [0.5, 1.5, 2.5, 3.5, 4.5]  # type: ignore[attr-defined]
    found = TASK.run(model, options(annotations=str(tmp_path / "masks")))
    assert found.n == 30
    assert found.metrics["mIoU_adaptive"] > found.metrics["wrong_audio/mIoU_adaptive"] + 0.2
    assert found.metrics["F"] > found.metrics["wrong_audio/F"]
    assert found.metrics["oracle/F"] == pytest.approx(1)
    assert found.per_sample["F_curve"].shape == (30, 255)
    assert recomputed(found, options()) == found.metrics
    by_one = options(annotations=str(tmp_path / "masks"), f_score="per_batch", f_batch=1)
    batches = TASK.run(model, by_one)
    assert recomputed(batches, by_one) == batches.metrics
    assert batches.metrics["F"] != pytest.approx(found.metrics["F"])
    low, high = found.ci95["F"]
    assert low <= found.metrics["F"] <= high
    one = subject(tmp_path, ids, visual[:, :1], sound[:, :1], grid=(8, 8))
    with pytest.raises(InputError, match="are of different times, and one frame"):
        TASK.run(one, options(annotations=str(tmp_path / "masks")))


def ade20k_set(tmp_path: Path) -> tuple[list[str], Path, npt.NDArray[np.float64]]:
    """Writes six pictures of two classes; returns ids, folder and masks on the grid, (6, 1, 8, 8)."""
    ids, masks, rows = [], np.zeros((6, 1, 8, 8)), []
    (tmp_path / "ade" / "annotations").mkdir(parents=True)
    rng = np.random.default_rng(2)
    for i in range(6):
        top, left = rng.integers(0, 5, 2)
        masks[i, 0, top : top + 4, left : left + 4] = 1
        label = np.zeros((224, 224, 3), np.uint8)
        label[..., 1] = np.kron(masks[i, 0], np.ones((28, 28))) * (7 + i % 2)
        Image.fromarray(label).save(tmp_path / "ade" / "annotations" / f"img{i}_seg.png")
        rows.append(f"frames/img{i}.jpg,s{i}.wav,{7 + i % 2}")
        ids.append(f"img{i}_{7 + i % 2}")
    text = "\n".join(["image_location,vggsound_file,ade_class_id", *rows])
    (tmp_path / "ade" / "prompted_segmentation.csv").write_text(text, encoding="utf-8")
    return ids, tmp_path / "ade", masks


def test_ade20k_pools_classes(tmp_path: Path) -> None:
    ids, folder, masks = ade20k_set(tmp_path)
    visual, sound = planted(masks)
    result = TASK.run(subject(tmp_path, ids, visual, sound, grid=(8, 8)), options(annotations=str(folder)))
    assert result.metrics["mAP"] > 0.8 > result.metrics["wrong_audio/mAP"]
    assert result.metrics["oracle/mIoU"] == result.metrics["oracle/mAP"] == 1
    assert result.metrics["whole_image/mIoU"] == pytest.approx(0.25)
    assert "gain/mIoU" in result.ci95
    assert recomputed(result, options()) == {}  # pixels of a class are pooled


def test_ade20k_compares_by_dot_products_other_protocols_by_cosines(tmp_path: Path) -> None:
    """DenseAV's maps are dot products: two patches of one direction differ by their length."""
    _, folder, _ = ade20k_set(tmp_path)
    sound = np.array([[[1.0, 0.0]]] * 6, np.float32)
    visual = np.zeros((6, 1, 64, 2), np.float32)
    visual[..., 0] = np.arange(1, 65)  # all of cosine 1
    ids = [f"img{i}_{7 + i % 2}" for i in range(6)]
    made = {}
    for kind in ("auto", "cosine", "dot"):
        model = subject(tmp_path, ids, visual, sound, grid=(8, 8))
        made[kind] = TASK.run(model, options(annotations=str(folder), similarity=kind)).per_sample["map"]
    assert made["dot"][0].ravel() == pytest.approx(np.arange(1, 65))
    assert made["cosine"][0].ravel() == pytest.approx(np.ones(64))
    np.testing.assert_array_equal(made["auto"], made["dot"])
    path, names, masks = boxed(tmp_path)
    looked, heard = planted(masks)
    boxes = [
        TASK.run(
            subject(tmp_path, names, 3 * looked, heard, grid=(8, 8)), options(annotations=str(path), similarity=kind)
        ).per_sample["map"]
        for kind in ("auto", "cosine")
    ]
    np.testing.assert_array_equal(*boxes)


def test_speech_prompts_are_said_to_be_compared_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, folder, _ = ade20k_set(tmp_path)
    read_annotations(folder)
    assert "speech" not in caplog.text
    listed = folder / "prompted_segmentation.csv"
    listed.write_text(listed.read_text("utf-8").replace("vggsound_file", "speech_prompt_file"), encoding="utf-8")
    read_annotations(folder)
    assert "whole sound is compared" in caplog.text

"""The localization task on planted tokens: what must be found is found, and controls show what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avbench.data.soundshapes import make
from avbench.errors import InputError
from avbench.tasks.localization import TASK
from avbench.tasks.localizing.options import LocalizationConfig
from avbench.tasks.localizing.summary import summarise

from .localization_subject import FakeClips, FakeSubject, N, boxed, options, planted, planted_boxes, recomputed, subject


def test_planted_sounds_are_found_and_wrong_ones_are_not(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    result = TASK.run(model, options(annotations=str(path)))
    found = result.metrics
    assert result.n == N
    assert found["cIoU@0.5"] > 0.9 > 0.6 > found["wrong_audio/cIoU@0.5"]
    assert found["gain/cIoU@0.5"] == pytest.approx(found["cIoU@0.5"] - found["wrong_audio/cIoU@0.5"])
    low, high = result.ci95["gain/cIoU@0.5"]
    assert 0 < low <= found["gain/cIoU@0.5"] <= high
    assert found["oracle/AUC"] >= found["AUC"]
    assert found["whole_image/cIoU@0.5"] == 0  # boxes are smaller than half the picture
    assert result.chance["cIoU@0.5"] == found["random/cIoU@0.5"]
    rows = ("wrong_audio", "mean_audio", "random", "centre_disc", "oracle", "whole_image")
    assert {f"{row}/AUC" for row in rows} <= set(found)
    assert set(result.per_sample) >= {"id", "class", "cIoU", "wrong_audio/cIoU", "map"}
    assert result.per_sample["map"].shape == (N, 8, 8)


def test_metrics_come_from_the_per_sample_outputs_alone(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    result = TASK.run(model, options(annotations=str(path)))
    assert summarise(result.per_sample) == pytest.approx(result.metrics)
    assert recomputed(result, options()) == result.metrics
    few = {name: values[:10] for name, values in result.per_sample.items()}
    model.made = type(model.made)(model.made.ids, model.made.visual, model.made.audio, None, None, (8, 8))
    subset = tmp_path / "ids.txt"
    subset.write_text("\n".join(result.per_sample["id"][:10]), encoding="utf-8")
    again = TASK.run(model, options(annotations=str(path), subset=str(subset)))
    assert recomputed(result, options(), slice(10)) == summarise(few)
    kept = {name: value for name, value in summarise(few).items() if "wrong" not in name and "gain" not in name}
    assert {name: again.metrics[name] for name in kept} == pytest.approx(kept)


def test_results_do_not_depend_on_the_order_of_clips(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    first = TASK.run(model, options(annotations=str(path)))
    order = np.random.default_rng(3).permutation(N)
    ids = [model.made.ids[i] for i in order]
    other = subject(tmp_path, ids, model.made.visual[order], model.made.audio[order], grid=(8, 8))
    assert TASK.run(other, options(annotations=str(path))).metrics == pytest.approx(first.metrics)


def test_a_wrong_sound_is_always_another_clips(tmp_path: Path) -> None:
    from avbench.tasks.localizing.inputs import judged_samples

    model, path = planted_boxes(tmp_path)
    judged = judged_samples(model, options(annotations=str(path)))
    for seed in range(5):
        wrong = judged.wrong_sounds(seed)
        assert (wrong != judged.sounds).all()
        assert sorted(wrong) == sorted(judged.sounds)
    assert not np.array_equal(judged.wrong_sounds(0), judged.wrong_sounds(1))


def test_sign_and_centring_turn_maps_round(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    model.made.audio[:] *= -1
    plain = TASK.run(model, options(annotations=str(path))).metrics["cIoU@0.5"]
    turned = TASK.run(model, options(annotations=str(path), sign="negative")).metrics["cIoU@0.5"]
    assert turned > 0.9 > 0.1 > plain
    # A large common part hides the differences from the cosine; centring takes it away.
    path, ids, masks = boxed(tmp_path)
    visual, sound = planted(masks)
    offset = np.full(8, 30, np.float32)
    hidden = subject(tmp_path, ids, visual + offset, sound + 2 * offset, grid=(8, 8))
    centred = TASK.run(hidden, options(annotations=str(path), centring="evaluated"))
    assert centred.metrics["cIoU@0.5"] > 0.9
    assert "mean_audio/AUC" not in centred.metrics


def test_global_token_and_dot_product(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    with pytest.raises(InputError, match=r"task\.audio_vector: found global"):
        TASK.run(model, options(annotations=str(path), audio_vector="global"))
    known = model.made
    other = subject(
        tmp_path, known.ids, known.visual, -known.audio, grid=(8, 8), global_sound=known.audio, eval_frame=0
    )
    found = TASK.run(other, options(annotations=str(path), audio_vector="global", similarity="dot"))
    assert found.metrics["cIoU@0.5"] > 0.9


def test_the_frame_nearest_to_the_annotation_is_judged(tmp_path: Path) -> None:
    path, ids, masks = boxed(tmp_path, frames=4)
    visual, sound = planted(masks)
    for k in (0, 1, 3):  # frames at 0, 2.5, 5 and 7.5 s: the one at 5 s is annotated
        visual[:, k] = -visual[:, k]
    model = subject(tmp_path, ids, visual, sound, grid=(8, 8), clips=FakeClips(ids, frames=4))
    assert TASK.run(model, options(annotations=str(path))).metrics["cIoU@0.5"] > 0.9
    assert TASK.run(model, options(annotations=str(path), frame=1)).metrics["cIoU@0.5"] < 0.1
    with pytest.raises(InputError, match=r"task\.frame: found 4"):
        TASK.run(model, options(annotations=str(path), frame=4))
    model.evaluated.frame_times = lambda i: [0.0, 4.9, 8.0, 9.0]
    assert TASK.run(model, options(annotations=str(path))).metrics["cIoU@0.5"] < 0.1


def test_boxes_follow_the_crop_of_wide_frames(tmp_path: Path) -> None:
    path, ids, masks = boxed(tmp_path)
    # The model sees the middle half of pictures of 2:1; boxes are in the whole ones.
    seen = np.zeros_like(masks)
    for i in range(N):
        wide = np.repeat(masks[i, 0], 2, axis=1)
        seen[i, 0] = wide[:, 4:12]
    visual, sound = planted(seen)
    clips = FakeClips(ids, aspect=2.0)
    model = subject(tmp_path, ids, visual, sound, grid=(8, 8), clips=clips)
    stretched = TASK.run(model, options(annotations=str(path))).metrics["AUC"]
    assert TASK.run(model, options(annotations=str(path), box_mapping="crop")).metrics["AUC"] > stretched
    clips.aspect = 1.0
    with pytest.raises(InputError, match="prepare them with --crop none"):
        TASK.run(model, options(annotations=str(path), box_mapping="crop"))


def test_negatives_give_extended_metrics(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    lines = ["video,audio,label", *(f"clip_{i:02d},clip_{(i + 1) % N:02d},non-sounding" for i in range(N))]
    (tmp_path / "negatives.csv").write_text("\n".join([*lines, "clip_00,unknown,non-sounding"]), encoding="utf-8")
    config = options(annotations=str(path), negatives=str(tmp_path / "negatives.csv"))
    result = TASK.run(model, config)
    assert result.n == 2 * N
    assert result.metrics["LocAcc"] == result.metrics["cIoU@0.5"] > 0.9
    assert result.metrics["AP_extended"] > 0.9 > 0.7 > result.metrics["wrong_audio/AP_extended"]
    assert result.metrics["max_F1"] > 0.9
    assert recomputed(result, config) == result.metrics
    assert "gain/AP_extended" in result.ci95
    assert set(TASK.files(config)) == {"annotations", "negatives"}


def embedded(tmp_path: Path) -> tuple[FakeSubject, LocalizationConfig]:
    make(tmp_path / "set", train=4, tune=0, test=8, seed=3, workers=0, progress=False)
    arrays = np.load(tmp_path / "set" / "masks.npz")
    ids = [f"test_{i:06d}" for i in range(8)]
    if ids[0] not in arrays.files:
        ids = sorted(name for name in arrays.files if name.startswith("test"))
    cells = []
    for name in ids:
        frame = np.unpackbits(arrays[name], axis=-1)[round(3 * 2.625 / 6 * 8)]
        cells.append(frame.reshape(6, 16, 6, 16).mean(axis=(1, 3)) > 0.5)
    visual, sound = planted(np.array(cells)[:, None].astype(float))
    clips = FakeClips(ids, frames=6, seconds=2.625)
    model = subject(tmp_path, ids, visual, sound, grid=(6, 6), clips=clips, eval_frame=3)
    model.train_clips = FakeClips(sorted(name for name in arrays.files if name.startswith("train")))
    return model, options(annotations=str(tmp_path / "set" / "masks.npz"), pictures=3)


def test_soundshapes_masks_with_mean_mask_and_pictures(tmp_path: Path) -> None:
    model, config = embedded(tmp_path)
    result = TASK.run(model, config)
    assert result.n == 8
    assert recomputed(result, config) == result.metrics
    for name in ("AP", "IoU", "peak", "cIoU@0.5"):
        assert {name, f"mean_mask/{name}", f"gain/{name}", f"whole_image/{name}"} <= set(result.metrics)
    assert result.metrics["AP"] > max(result.metrics["wrong_audio/AP"], result.metrics["mean_mask/AP"])
    assert result.metrics["oracle/AP"] == result.metrics["oracle/peak"] == result.metrics["oracle/IoU"] == 1
    assert result.metrics["whole_image/AP"] == pytest.approx(result.metrics["whole_image/IoU"])
    assert set(model.evaluated.read) <= {(i, 3) for i in range(8)}
    sheets = sorted((model.folder / "pictures").glob("*.png"))
    assert [sheet.name for sheet in sheets] == ["best.png", "first.png", "worst.png"]
    with Image.open(sheets[0]) as image:
        assert image.width > image.height > 200


def test_what_cannot_be_evaluated_says_why(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    with pytest.raises(InputError, match=r"task\.annotations: found nothing"):
        TASK.run(model, options())
    with pytest.raises(InputError, match="no such file"):
        TASK.run(model, options(annotations=str(tmp_path / "none.json")))
    model.made = type(model.made)([f"x{i}" for i in range(N)], model.made.visual, model.made.audio, None, None, (8, 8))
    with pytest.raises(InputError, match="none of 24 samples is of an evaluated clip"):
        TASK.run(model, options(annotations=str(path)))
    with pytest.raises(InputError, match="no such file or folder"):
        TASK.files(options(annotations=str(tmp_path / "none.json")))


def test_a_run_is_refused_before_it_begins(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    config = model.config
    for changes, message in (
        ({}, "task.annotations: found nothing"),
        ({"annotations": str(tmp_path / "none")}, "no such file"),
        ({"annotations": str(path), "negatives": str(tmp_path / "none")}, "no such file or folder"),
    ):
        config.task = options(**changes)
        with pytest.raises(InputError, match=message):
            TASK.check(config)
    config.task = options(annotations=str(path))
    TASK.check(config)


def test_a_single_clip_has_no_wrong_sound(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    subset = tmp_path / "ids.txt"
    subset.write_text("clip_03", encoding="utf-8")
    result = TASK.run(model, options(annotations=str(path), subset=str(subset)))
    assert result.n == 1
    assert not any("wrong_audio" in name or "gain" in name for name in result.metrics)


def test_heat_maps_of_any_resolution_score_as_the_models_own(tmp_path: Path) -> None:
    model, path = planted_boxes(tmp_path)
    config = options(annotations=str(path))
    own = TASK.run(model, config)
    maps = own.per_sample["map"]
    order = np.random.default_rng(0).permutation(N)
    file = tmp_path / "maps.npz"
    np.savez(file, id=own.per_sample["id"][order], map=maps[order])
    other = TASK.evaluate_heatmaps(file, path, options())
    shared_names = ("cIoU@0.5", "AUC", "oracle/AUC", "whole_image/AUC", "centre_disc/cIoU@0.5", "random/AUC")
    for name in shared_names:
        assert other.metrics[name] == pytest.approx(own.metrics[name]), name
    assert "wrong_audio/AUC" not in other.metrics
    assert other.ids_sha256 == own.ids_sha256
    some = np.append(order[:5], 0)
    ids = [*own.per_sample["id"][order[:5]], "nobody"]
    np.savez(file, id=np.array(ids), map=maps[some], wrong_audio=-maps[some])
    few = TASK.evaluate_heatmaps(file, path, options())
    assert few.n == 5
    (tmp_path / "negatives.csv").write_text("video,audio,label\nx,y,non-sounding\n", encoding="utf-8")
    with pytest.raises(InputError, match="found none of its pairs"):
        TASK.evaluate_heatmaps(file, path, options(negatives=str(tmp_path / "negatives.csv")))
    assert few.metrics["gain/AUC"] > 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"id": ["clip_00"]}, "found id, missing map; valid: an .npz with id"),
        ({"id": ["clip_00"], "map": np.zeros((2, 4, 4))}, "found shape"),
        ({"id": ["clip_00"], "map": np.full((1, 4, 4), np.nan)}, r"not finite in 1 maps \(clip_00\)"),
        ({"id": ["clip_00", "clip_00"], "map": np.zeros((2, 4, 4))}, "a second time"),
        ({"id": ["zz"], "map": np.zeros((1, 4, 4))}, "none of its 1 ids is annotated"),
    ],
)
def test_heat_maps_that_cannot_be_used_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path, _, _ = boxed(tmp_path)
    file = tmp_path / "maps.npz"
    np.savez(file, **{name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(InputError, match=message):
        TASK.evaluate_heatmaps(file, path, options())


def test_heat_maps_have_no_crop_and_features_no_maps(tmp_path: Path) -> None:
    path, _, _ = boxed(tmp_path)
    with pytest.raises(InputError, match=r"task\.box_mapping: found crop"):
        TASK.evaluate_heatmaps(tmp_path / "x.npz", path, options(box_mapping="crop"))
    with pytest.raises(InputError, match="no such file"):
        TASK.evaluate_heatmaps(tmp_path / "x.npz", path, options())

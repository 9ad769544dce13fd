from __future__ import annotations

import dataclasses

import numpy as np

from avbench.data.soundshapes.factors import N_FRAMES, SIZE, Factors, clip_factors
from avbench.data.soundshapes.picture import draw, frame_times, hsv_to_rgb, masks


def _clip(**changes: object) -> Factors:
    plain = dataclasses.replace(clip_factors(0, "tune", 0), silent=(), rimmed=False, shape=0, row=0.5, column=0.5)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_frames_are_reproducible_and_all_different() -> None:
    factors = clip_factors(0, "tune", 3)
    frames = draw(factors)
    assert frames.shape == (N_FRAMES, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, draw(factors))
    assert len({frame.tobytes() for frame in frames}) == N_FRAMES >= 16


def test_colour_inside_the_mask_follows_pitch() -> None:
    factors = _clip(swing=0.12, cycles=1, saturation=1.0)
    frames, inside = draw(factors), masks(factors, frame_times())
    expected = 255 * hsv_to_rgb(0.75 * factors.pitch(frame_times()), 1.0, factors.value(frame_times()))
    for frame, mask, colour in zip(frames, inside, expected, strict=True):
        assert np.abs(np.median(frame[mask], axis=0) - colour).max() < 6
    assert np.ptp(expected, axis=0).max() > 30


def test_mask_is_where_the_object_changes_the_picture() -> None:
    factors = _clip(saturation=1.0, level=0.3, swing=0.0)  # green, then blue
    other = dataclasses.replace(factors, level=0.8)
    changed = np.abs(draw(factors).astype(int) - draw(other)).max(axis=-1) > 80
    inside = masks(factors, frame_times())
    union = (changed | inside).sum()
    assert (changed & inside).sum() > 0.95 * union


def test_every_shape_covers_the_same_area() -> None:
    area = [masks(_clip(shape=shape, radius=22.0), np.array([1.0])).sum() for shape in range(4)]
    assert np.ptp(area) < 0.08 * np.pi * 22**2


def test_textures_differ_in_brightness_not_only_in_colour() -> None:
    for shape in (1, 2, 3):
        factors = _clip(shape=shape, level=0.4, swing=0.0)
        luma = draw(factors)[0] @ np.array([0.299, 0.587, 0.114])
        inside = luma[masks(factors, np.array([0.0]))[0]]
        assert np.percentile(inside, 90) > 40 + np.percentile(inside, 10)


def test_silent_objects_are_coloured_move_and_are_in_no_mask() -> None:
    factors = clip_factors(0, "tune", 5)
    without = dataclasses.replace(factors, silent=())
    difference = np.abs(draw(factors).astype(int) - draw(without)).max(axis=-1) > 30
    assert difference.sum(axis=(1, 2)).min() > 50
    assert not (difference & masks(factors, frame_times())).any()
    assert (difference[0] != difference[N_FRAMES // 2]).any()

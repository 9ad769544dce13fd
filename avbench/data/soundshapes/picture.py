"""Drawing a clip: background, silent objects, the sounding object in front, and its mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avbench.data.soundshapes.factors import DURATION, FPS, N_FRAMES, SIZE, Factors, Silent

Floats = NDArray[np.float32]

_PERIOD = 8.0  # pixels of a stripe and its gap: half a patch, and coarser than the subsampled chroma
_RIM, _THIN_RIM = 3.5, 1.5  # pixels: of the sounding object, of silent ones
_BLACK, _WHITE = 20.0, 248.0  # gaps: they differ in luma, which H.264 keeps in full
_GRAIN = 0.01  # standard deviation of the pixel noise
_REACH = 1.7  # no silhouette reaches further than so many radii from its centre

#: Silhouettes: the four sounding shapes, then two that never sound.
SILHOUETTES = ("disk", "square", "triangle", "ring", "plus", "star")


class _Pose(NamedTuple):
    """Where an object is in each frame, and how it looks there."""

    kind: int
    rows: NDArray[np.float64]  # (N,)
    columns: NDArray[np.float64]  # (N,)
    radius: float
    angle: float
    colour: Floats  # (N, 3)
    rim: float  # pixels; 0: none


def frame_times() -> NDArray[np.float64]:
    """Returns the (N_FRAMES,) times of the frames, seconds."""
    return np.arange(N_FRAMES) / FPS


def draw(factors: Factors) -> NDArray[np.uint8]:
    """Returns the clip's frames, (N_FRAMES, SIZE, SIZE, 3) RGB."""
    rng = factors.stream("pixels")
    times = frame_times()
    # Colours first while drawing: operations along whole rows are several times as fast as along three channels.
    frames = np.repeat(_background(rng)[:, None], N_FRAMES, axis=1)  # (3, N, H, W), 0 to 255
    for silent in factors.silent:
        _paint(frames, _silent_pose(silent, times))
    _paint(frames, _pose(factors, times))
    # One sheet of grain, moved for every frame: fresh normal draws would cost as much as all the drawing.
    sheet = rng.normal(0.5, 255 * _GRAIN, (SIZE + 32, SIZE + 32)).astype(np.float32)  # 0.5: to round
    for number, (down, right) in enumerate(rng.integers(0, 33, (N_FRAMES, 2))):
        frames[:, number] += sheet[down : down + SIZE, right : right + SIZE]
    np.clip(frames, 0, 255, out=frames)
    return np.ascontiguousarray(frames.astype(np.uint8).transpose(1, 2, 3, 0))


def masks(factors: Factors, times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns where the sounding object is at times in seconds: (len(times), SIZE, SIZE)."""
    result = np.zeros((len(times), SIZE, SIZE), dtype=np.bool_)
    pose = _pose(factors, np.asarray(times, dtype=np.float64))
    window = _window(pose)
    u, v = _local(pose, window)
    result[:, window[0], window[1]] = _distance(pose.kind, pose.radius, u, v) < 0
    return result


def _pose(factors: Factors, times: NDArray[np.float64]) -> _Pose:
    rows, columns = factors.centre(times)
    colour = hsv_to_rgb(0.75 * factors.pitch(times), factors.saturation, factors.value(times))
    return _Pose(factors.shape, rows, columns, factors.radius, factors.angle, colour, _RIM * factors.rimmed)


def _silent_pose(silent: Silent, times: NDArray[np.float64]) -> _Pose:
    sway = np.sin(2 * np.pi * times / DURATION + silent.phase)
    colour = hsv_to_rgb(np.full_like(times, silent.hue), silent.saturation, silent.value)
    rows, columns = (centre + drift * sway for centre, drift in zip(silent.centre, silent.drift, strict=True))
    return _Pose(silent.kind, rows, columns, silent.radius, silent.angle, colour, _THIN_RIM * silent.rimmed)


def hsv_to_rgb(hue: NDArray[np.float64], saturation: float, value: NDArray[np.float64] | float) -> Floats:
    """Returns the (N, 3) colours of hues (N,), all in [0, 1].

    Args:
        hue: (N,), in [0, 1].
        saturation: Of all, in [0, 1].
        value: (N,) or one for all, in [0, 1].
    """
    k = (hue[:, None] * 6.0 + np.array([5.0, 3.0, 1.0])) % 6.0
    full = 1.0 - saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)
    return np.asarray(np.broadcast_to(value, hue.shape)[:, None] * full, dtype=np.float32)


def _background(rng: np.random.Generator) -> Floats:
    """A dull, smooth gradient: a 3 x 3 grid of greys with a little colour, interpolated, (3, SIZE, SIZE)."""
    grid = rng.uniform(0.05, 0.45, (1, 3, 3)) + rng.uniform(-0.04, 0.04, (3, 3, 3))
    place = np.linspace(0.0, 2.0, SIZE)
    weights = np.clip(1.0 - np.abs(place[:, None] - np.arange(3.0)), 0.0, 1.0)  # (SIZE, 3)
    return np.asarray(255.0 * (weights @ grid @ weights.T), dtype=np.float32)


def _window(pose: _Pose) -> tuple[slice, slice]:
    """The part of the image that the object touches in any frame: nothing else need be computed."""
    reach = _REACH * pose.radius + 1.0
    bounds = [(max(0, int(p.min() - reach)), min(SIZE, int(p.max() + reach) + 2)) for p in (pose.rows, pose.columns)]
    return slice(*bounds[0]), slice(*bounds[1])


def _local(pose: _Pose, window: tuple[slice, slice]) -> tuple[Floats, Floats]:
    """Coordinates of the window's pixels in the object's own axes, (N, h, w) each: right and down."""
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32)[None, :, None]
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, None, :]
    dy = y - pose.rows.astype(np.float32)[:, None, None]
    dx = x - pose.columns.astype(np.float32)[:, None, None]
    cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
    return cos * dx + sin * dy, cos * dy - sin * dx


def _distance(kind: int, radius: float, u: Floats, v: Floats) -> Floats:
    """Signed distance to the outline in pixels, negative inside; every sounding shape has the area of a disk."""
    name = SILHOUETTES[kind]
    if name == "disk":
        return np.sqrt(u * u + v * v) - np.float32(radius)
    if name == "square":
        return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.886 * radius)
    if name == "triangle":
        inner = np.float32(0.7776 * radius)
        return np.maximum(v, np.abs(u) * np.float32(0.8660254) - v * np.float32(0.5)) - inner
    if name == "ring":
        return np.abs(np.sqrt(u * u + v * v) - np.float32(0.695 * radius)) - np.float32(0.36 * radius)
    a, b = np.abs(u), np.abs(v)
    if name == "plus":
        arm = np.float32(0.32 * radius)
        return np.maximum(np.minimum(a, b) - arm, np.maximum(a, b) - np.float32(radius))
    return (a + b + np.float32(1.5) * np.minimum(a, b)) * np.float32(0.8) - np.float32(radius)


def _texture(kind: int, u: Floats, v: Floats) -> tuple[Floats, Floats | float] | None:
    """The object's gaps at its own coordinates: how much they cover, and their grey; None where it is plain."""
    name = SILHOUETTES[kind]
    turn = np.float32(2 * np.pi / _PERIOD)
    if name == "square":
        return _edges(np.sin(v * turn)), _BLACK
    if name == "triangle":
        return _edges(np.sin(u * turn)), _WHITE
    if name == "ring":
        across = np.sin(u * turn)
        return _edges(across * np.sin(v * turn) * np.float32(1.5)), np.where(
            across > 0, np.float32(_BLACK), np.float32(_WHITE)
        )
    return None


def _edges(wave: Floats) -> Floats:
    """Turns a wave into bands of equal width whose edges are a little soft."""
    return np.asarray(np.clip(wave * np.float32(1.5) + np.float32(0.5), 0, 1))


def _paint(frames: Floats, pose: _Pose) -> None:
    """Draws one object over ``frames`` (3, N, H, W) in place, with outlines smoothed over a pixel."""
    window = _window(pose)
    u, v = _local(pose, window)
    distance = _distance(pose.kind, pose.radius, u, v)
    cover = np.clip(np.float32(0.5) - distance, 0, 1)  # (N, h, w)
    clear, colour, grey = 1 - cover, cover, None
    texture = _texture(pose.kind, u, v)
    if texture is not None:
        gaps = cover * texture[0]
        colour, grey = cover - gaps, gaps * texture[1]
    if pose.rim > 0:
        inside = 1 - np.clip(distance + np.float32(pose.rim + 0.5), 0, 1)
        colour = colour * inside
        rim = cover * (1 - inside) * _WHITE
        grey = rim if grey is None else grey * inside + rim
    for channel in range(3):
        part = frames[channel][:, window[0], window[1]]
        part *= clear
        part += colour * (255 * pose.colour[:, channel, None, None])
        if grey is not None:
            part += grey

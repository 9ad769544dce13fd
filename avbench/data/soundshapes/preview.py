"""A contact sheet: a few clips, each with frames, the outline of what sounds, its spectrogram and its label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from avbench.data.soundshapes.factors import DURATION, SAMPLE_RATE, SIZE, Factors
from avbench.data.soundshapes.picture import draw, frame_times, masks
from avbench.data.soundshapes.sound import synthesise

_SHOWN = 5  # frames of each clip
_ZOOM = 2  # pixels of the sheet per pixel of a frame
_GAP, _TITLE, _HEAD = 6, 22, 64  # pixels: between pictures, above a clip, above all
_TILE = SIZE * _ZOOM
_WINDOW, _HOP, _BINS = 1024, 160, 160  # samples, samples, rows of the spectrogram
_LOW_HZ, _HIGH_HZ = 100.0, 8000.0
_TICKS_HZ = (200, 500, 1000, 2000, 4000)
_RANGE_DB = 60.0
# From black over violet and orange to pale yellow, so that louder is brighter also in grey.
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float64)


def contact_sheet(clips: list[Factors]) -> Image.Image:
    """Returns a picture with one row per clip."""
    spectrogram_width = 2 * _TILE
    width = _SHOWN * (_TILE + _GAP) + spectrogram_width + 60 + _GAP
    height = _HEAD + len(clips) * (_TITLE + _TILE + _GAP)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(size=17), ImageFont.load_default(size=13)
    pen.text((_GAP, 6), "soundshapes: the outlined object sounds, the others are silent", fill="black", font=large)
    legend = (
        "hue = pitch, both change in time;  shape and stripes = timbre;  height and brightness = height of the "
        "hiss band;  rim: only seen;  pulses: only heard"
    )
    pen.text((_GAP, 34), legend, fill="black", font=small)
    for number, factors in enumerate(clips):
        top = _HEAD + number * (_TITLE + _TILE + _GAP)
        pen.text((_GAP, top + 3), f"{factors.id}   {factors.label}", fill="black", font=small)
        _paste_clip(sheet, pen, factors, top + _TITLE, spectrogram_width, small)
    return sheet


def _paste_clip(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    factors: Factors,
    top: int,
    spectrogram_width: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    times = frame_times()
    shown = np.linspace(0, len(times) - 1, _SHOWN).round().astype(int)
    frames, outlines = draw(factors)[shown], masks(factors, times[shown])
    for place, (frame, mask) in enumerate(zip(frames, outlines, strict=True)):
        left = _GAP + place * (_TILE + _GAP)
        sheet.paste(_outlined(frame, mask), (left, top))
        pen.text((left + 4, top + 2), f"{times[shown[place]]:.2f} s", fill="white", font=font)
    left = _GAP + _SHOWN * (_TILE + _GAP) + 50
    sheet.paste(spectrogram(synthesise(factors)).resize((spectrogram_width, _TILE)), (left, top))
    for hertz in _TICKS_HZ:
        y = top + _TILE * (1 - np.log(hertz / _LOW_HZ) / np.log(_HIGH_HZ / _LOW_HZ))
        pen.line([(left - 5, y), (left, y)], fill="black")
        pen.text((left - 8, y), f"{hertz}", fill="black", font=font, anchor="rm")
    pen.text((left + 4, top + 2), f"Hz, {DURATION:.2f} s", fill="white", font=font)


def _outlined(frame: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Image.Image:
    picture = np.kron(frame, np.ones((_ZOOM, _ZOOM, 1), dtype=np.uint8))
    large = np.kron(mask, np.ones((_ZOOM, _ZOOM), dtype=np.bool_))
    inner = large.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(large, step, axis)
    picture[large & ~inner] = (255, 255, 255)
    return Image.fromarray(picture)


def spectrogram(waveform: NDArray[np.float32]) -> Image.Image:
    """Returns a waveform's spectrogram with a logarithmic axis, low frequencies at the bottom."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2  # (time, frequency)
    hertz = np.geomspace(_HIGH_HZ, _LOW_HZ, _BINS)
    bins = np.minimum(hertz * _WINDOW / SAMPLE_RATE, power.shape[1] - 1).round().astype(int)
    decibels = 10 * np.log10(power[:, bins].T + 1e-12)
    share = np.clip((decibels - decibels.max()) / _RANGE_DB + 1.0, 0.0, 1.0) * (len(_COLOURS) - 1)
    steps = np.arange(len(_COLOURS))
    colours = np.stack([np.interp(share, steps, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colours.astype(np.uint8))

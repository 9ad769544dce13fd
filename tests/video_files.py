"""Small media files with known content, for the tests of decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

AUDIO_RATE = 44100


def click(seconds: float, at: float, rate: int = AUDIO_RATE, channels: int = 1) -> np.ndarray:
    """Silence of (channels, n) with 2 ms of a loud tone from ``at`` seconds on."""
    samples = np.zeros((channels, round(seconds * rate)), np.float32)
    first, n = round(at * rate), rate // 500
    samples[:, first : first + n] = 0.8 * np.sin(np.arange(n) * 2 * math.pi * 4000 / rate)
    return samples


def tone(seconds: float, hertz: float, rate: int = AUDIO_RATE, channels: int = 1) -> np.ndarray:
    return np.tile(0.3 * np.sin(np.arange(round(seconds * rate)) * 2 * math.pi * hertz / rate), (channels, 1)).astype(
        "f4"
    )


def write_video(
    path: Path,
    *,
    levels: Sequence[int] | None = None,
    times: Sequence[float] | None = None,
    fps: int = 25,
    pictures: Sequence[np.ndarray] | None = None,
    size: tuple[int, int] = (64, 48),
    sound: np.ndarray | None = None,
    rate: int = AUDIO_RATE,
    sound_at: float = 0.0,
    layout: str = "mono",
    codec: str = "libx264",
    audio_codec: str = "aac",
    pix_fmt: str = "yuv420p",
    gop: int = 50,
    b_frames: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes frames of one grey level each (``levels``) or ``pictures``, at ``times`` or at ``fps``, and ``sound``."""
    width, height = size
    if pictures is None and levels is not None:
        pictures = [np.full((height, width, 3), level, np.uint8) for level in levels]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        video: Any = None
        if pictures is not None:
            video = container.add_stream(codec, rate=fps, options={"crf": "4", "preset": "veryfast", "threads": "1"})
            video.width, video.height, video.pix_fmt, video.gop_size = width, height, pix_fmt, gop
            if b_frames is not None:
                video.codec_context.options = {**video.codec_context.options, "bf": str(b_frames), "b_strategy": "0"}
            video.codec_context.time_base = Fraction(1, 1000 if b_frames is None else fps)
        audio: Any = None
        if sound is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
        if video is not None and pictures is not None:
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = round(1000 * (times[index] if times is not None else index / fps))
                frame.time_base = Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and sound is not None:
            audio_frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
            audio_frame.sample_rate = rate
            audio_frame.pts = round(sound_at * rate)
            audio_frame.time_base = Fraction(1, rate)
            container.mux(audio.encode(audio_frame))
            container.mux(audio.encode(None))
    return path


def set_rotation(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Writes the display matrix (in units of 1) of an mp4's first track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes lie before the matrix
    for position, value in zip((0, 1, 3, 4), (a, b, c, d), strict=True):
        data[at + 4 * position : at + 4 * position + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)

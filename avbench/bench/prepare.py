"""Decoding and storing a video: one pass over what is needed, against the plain way of decoding everything."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from avbench.bench.timing import Timing, compare
from avbench.data.media.decode import decode
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.prepare.payload import encode

_FPS, _SECONDS, _WIDTH, _HEIGHT, _RATE = 25, 10, 640, 360, 44100


def _write_video(path: Path) -> None:
    """Writes ten seconds of moving gradients with a chord, H.264 and AAC, as video sites store them."""
    rows, columns = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    time = np.arange(_SECONDS * _RATE) / _RATE
    chord = np.array([[220], [277], [330]])
    sound = (0.2 * np.sin(2 * np.pi * chord * time).sum(axis=0)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=_FPS, options={"preset": "veryfast", "threads": "1"})
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=_RATE)
        audio.codec_context.layout = "stereo"
        for number in range(_FPS * _SECONDS):
            planes = [(columns + 4 * number) % 256, (rows * 2 + number) % 256, (rows + columns) // 4 % 256]
            frame = av.VideoFrame.from_ndarray(np.stack(planes, axis=-1).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(np.stack([sound, sound]), format="fltp", layout="stereo")
        samples.sample_rate, samples.pts, samples.time_base = _RATE, 0, Fraction(1, _RATE)
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))


def _plain(path: Path, settings: PrepareSettings) -> int:
    """Decodes every frame to RGB, keeps ten, resizes them; then opens the file again for its sound."""
    with av.open(str(path)) as container:
        pictures = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    kept = [pictures[int(i * len(pictures) / settings.n_frames)] for i in range(settings.n_frames)]
    size = 0
    for picture in kept:
        scale = settings.size / min(picture.size)
        small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=settings.jpeg_quality)
        size += buffer.tell()
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=settings.sample_rate)
        parts = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        parts += [part.to_ndarray() for part in resampler.resample(None)]
    return size + np.concatenate(parts, axis=1).nbytes


def benchmark(repeats: int = 8) -> list[Timing]:
    """Compares storing one 10 s clip of 640 x 360 at 25 frames a second; 1000 / ``ours_ms`` is clips/s per core."""
    settings = PrepareSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        _write_video(path)

        def ours() -> int:
            return encode(decode(path, settings), settings).size

        def plain() -> int:
            return _plain(path, settings)

        return [compare("decode + prepare, 10 s of 360p", ours, plain, target=1.0, repeats=repeats)]

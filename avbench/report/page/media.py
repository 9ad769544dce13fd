"""Pictures and sounds small enough to go into the page, as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench.errors import RunError

if TYPE_CHECKING:
    from PIL import Image

    from avbench.data.corpus.clips import Clips

WIDTH = 1400  # pixels of the widest picture
TILE = 112  # pixels of a clip's frame
SECONDS = 10.0  # of a clip's sound
RATE = 16_000
FRAMES = 16  # of a clip
BITS = 32_000  # a second of sound
PEAKS = 48  # of a drawn waveform


def uri(data: bytes, kind: str) -> str:
    """Returns bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def picture(source: Path | bytes, *, width: int = WIDTH, quality: int = 72) -> tuple[str, int, int]:
    """Returns a picture as WebP, with its width and height.

    Args:
        source: The picture.
        width: At most, pixels.
        quality: Of WebP, 0 to 100.

    Raises:
        RunError: It cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            image = opened.convert("RGBA")
    except (OSError, ValueError) as error:
        raise RunError(f"picture {'' if isinstance(source, bytes) else source}: cannot be read ({error}).") from None
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    if white.width > width:
        white = white.resize((width, max(1, round(white.height * width / white.width))), Image.Resampling.LANCZOS)
    return _webp(white.convert("RGB"), quality), white.width, white.height


def _webp(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=5)
    return uri(buffer.getvalue(), "image/webp")


def sound(waveform: npt.NDArray[np.float32], rate: int) -> str:
    """Returns a mono sound (samples,) in [-1, 1] as MP3, which every browser plays.

    Raises:
        RunError: This build of PyAV has no MP3 encoder.
    """
    import av

    from avbench.data.media.waveform import resample

    if rate != RATE:
        waveform = resample(waveform, rate, RATE)
    samples = (np.clip(waveform[: int(SECONDS * RATE)], -1, 1) * 32767).astype(np.int16)
    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="mp3") as container:
            stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
            stream.bit_rate = BITS
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        raise RunError(f"sound: cannot be written as MP3 ({error}); install another build of PyAV.") from None
    return uri(buffer.getvalue(), "audio/mpeg")


def peaks(waveform: npt.NDArray[np.float32]) -> list[float]:
    """Returns the largest value of each of :data:`PEAKS` parts of a sound, the largest of all being 1."""
    parts = np.array_split(np.abs(waveform), PEAKS)
    found = np.array([part.max() if len(part) else 0.0 for part in parts])
    return [round(value, 2) for value in (found / max(float(found.max()), 1e-9)).tolist()]


def clip(clips: Clips, i: int) -> dict[str, Any]:
    """Returns a clip for the page: its frames side by side as one WebP, when each is shown, and its sound.

    Raises:
        RunError: It cannot be read.
    """
    from PIL import Image

    count = max(1, min(clips.n_frames(i), FRAMES))
    frames = [Image.fromarray(clips.frame(i, k)) for k in range(count)]
    strip = Image.new("RGB", (TILE * count, TILE))
    for k, frame in enumerate(frames):
        side = min(frame.size)
        left, top = (frame.width - side) // 2, (frame.height - side) // 2
        square = frame.crop((left, top, left + side, top + side)).resize((TILE, TILE), Image.Resampling.BICUBIC)
        strip.paste(square, (TILE * k, 0))
    waveform, rate = clips.waveform(i)
    seconds = min(len(waveform) / rate, SECONDS)
    stored = getattr(clips, "frame_times", None)
    times = stored(i) if stored is not None else []
    return {
        "labels": ", ".join(clips.labels(i)),
        "strip": _webp(strip, 66),
        "times": [round(t, 3) for t in times[:count]]
        if times
        else [round(k * seconds / count, 3) for k in range(count)],
        "sound": sound(waveform, rate),
        "peaks": peaks(waveform[: int(SECONDS * rate)]),
    }

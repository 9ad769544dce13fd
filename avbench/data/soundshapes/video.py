"""Writing a clip as H.264 and AAC in an mp4 file."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# One thread each, so that the bytes do not depend on the machine's cores; ultrafast: a clip takes milliseconds.
_X264 = {"preset": "ultrafast", "crf": "24", "threads": "1", "g": "8", "x264-params": "keyint=8:scenecut=0"}
_AAC_BITS_PER_SECOND = 64000


def encode(frames: NDArray[np.uint8], fps: int, waveform: NDArray[np.float32], sample_rate: int) -> bytes:
    """Returns an mp4 file of frames (N, H, W, 3) RGB and a waveform (samples,) in [-1, 1].

    Args:
        frames: (N, H, W, 3), RGB.
        fps: Frames a second.
        waveform: (samples,), in [-1, 1].
        sample_rate: Samples a second.
    """
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options=dict(_X264))
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=sample_rate, options={"aac_coder": "fast"})
        audio.codec_context.layout = "mono"
        audio.codec_context.bit_rate = _AAC_BITS_PER_SECOND
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform[None]), format="fltp", layout="mono")
        sound.sample_rate = sample_rate
        sound.pts, sound.time_base = 0, Fraction(1, sample_rate)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return buffer.getvalue()

"""A video track or a picture, and a sound from another file, in one file; nothing is encoded anew."""

from __future__ import annotations

import contextlib
import heapq
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError

from avbench.data.media.container import open_container
from avbench.data.media.verdict import Rejected

PICTURES = frozenset((".jpg", ".jpeg"))


def has_sound(path: Path, max_pixels: int) -> bool:
    """Returns whether a media file has a sound track.

    Raises:
        Rejected: It cannot be opened.
    """
    with open_container(str(path), max_pixels) as container:
        return bool(container.streams.audio)


def join(pictures: Path, sound: Path, out: Path, max_pixels: int) -> None:
    """Writes the pictures of one file and the sound of another as Matroska.

    Args:
        pictures: A video, or a JPEG, which is then shown as long as the sound is heard.
        sound: Any file with a sound track.
        out: The file to write.
        max_pixels: Largest picture.

    Raises:
        Rejected: One of them cannot be read, or they cannot stand in one file.
    """
    with contextlib.ExitStack() as opened:
        audio = opened.enter_context(open_container(str(sound), max_pixels))
        if not audio.streams.audio:
            raise Rejected("no audio track", "in the file beside the video")
        still = _size(pictures, max_pixels)
        video = None if still else opened.enter_context(open_container(str(pictures), max_pixels))
        if video is not None and not video.streams.video:
            raise Rejected("no video track")
        packets: Iterator[Any] = iter(())
        try:
            with av.open(str(out), "w", format="matroska") as joined:
                if video is not None:
                    packets = _packets(video, video.streams.video[0], joined)
                elif still is not None:
                    packets = _still(joined, pictures, still, (audio.duration or 0) / av.time_base)
                both = packets, _packets(audio, audio.streams.audio[0], joined)
                for packet in heapq.merge(*both, key=lambda packet: packet.dts * packet.time_base):
                    joined.mux(packet)
        except (FFmpegError, ValueError) as error:
            raise Rejected("video and sound do not go into one file", str(error).splitlines()[0][:200]) from None


def _size(path: Path, max_pixels: int) -> tuple[int, int] | None:
    """Returns width and height of a JPEG; None for another file."""
    if path.suffix.lower() not in PICTURES:
        return None
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            width, height = image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError):
        raise Rejected("picture cannot be read") from None
    if width * height > max_pixels:
        raise Rejected("picture too large", f"{width} x {height} (limit {max_pixels} pixels)")
    return width, height


def _still(joined: Any, path: Path, size: tuple[int, int], seconds: float) -> Iterator[Any]:
    """Yields a JPEG as the packets of a video of one frame a second."""
    track = joined.add_stream("mjpeg", rate=1)
    track.width, track.height = size
    track.pix_fmt = "yuvj420p"
    data = path.read_bytes()

    def packets() -> Iterator[Any]:
        for second in range(max(1, math.ceil(seconds))):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = track, Fraction(1, 1), True
            packet.pts = packet.dts = second
            yield packet

    return packets()


def _packets(container: Any, stream: Any, joined: Any) -> Iterator[Any]:
    """Adds a stream to a file, and returns its dated packets for it."""
    track = joined.add_stream_from_template(stream)

    def packets() -> Iterator[Any]:
        for packet in container.demux(stream):
            if packet.size and packet.dts is not None:
                packet.stream = track
                yield packet

    return packets()

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image
from video_files import AUDIO_RATE, tone, write_video

from avbench.data.media.decode import decode
from avbench.data.media.prepare_settings import PrepareSettings

SMALL = PrepareSettings(size=16, n_frames=4)


def jpeg(level: int, orientation: int = 0) -> bytes:
    picture = np.full((48, 64, 3), level, np.uint8)
    picture[:24, :32] = 255
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", exif=exif.tobytes() if orientation else b"", quality=95)
    return buffer.getvalue()


def write(path: Path, streams: list[tuple[str, int, list[Any]]], marks: list[int]) -> Path:
    """Writes streams of 2 s: (kind, rate, content) and their dispositions."""
    with av.open(str(path), "w") as container:
        made: list[Any] = []
        for (kind, rate, _), mark in zip(streams, marks, strict=True):
            if kind == "srt":
                stream: Any = container.add_stream("srt")
            elif kind == "jpeg":
                stream = container.add_stream("mjpeg", rate=rate)
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            else:
                stream = container.add_stream("pcm_s16le", rate=AUDIO_RATE, layout="mono")
            stream.disposition = Disposition(mark)
            made.append(stream)
        for stream, (kind, rate, content) in zip(made, streams, strict=True):
            if kind == "sound":
                frame = av.AudioFrame.from_ndarray((content[0] * 32767).astype(np.int16), format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
                container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
                continue
            for number, data in enumerate(content):
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, rate)
                packet.pts = packet.dts = number
                packet.duration = 1
                packet.is_keyframe = True
                container.mux(packet)
    return path


FILM = ("jpeg", 25, [jpeg(level) for level in range(40, 90)])
LOUD, QUIET = ("sound", 0, [tone(2, 440)]), ("sound", 0, [0 * tone(2, 440)])


def test_a_first_stream_that_is_neither_picture_nor_sound_does_not_matter(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.ts", levels=[50] * 50, sound=tone(2, 440))
    path = tmp_path / "a.ts"
    with av.open(str(film)) as source, av.open(str(path), "w") as container:
        data = container.add_data_stream("bin_data")
        copies = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        first = av.Packet(b"a word of data")
        first.stream, first.time_base, first.pts, first.dts = data, Fraction(1, 25), 0, 0
        container.mux(first)
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                container.mux(packet)
    with av.open(str(path)) as container:
        assert container.streams[0].type == "data"
    assert decode(path, SMALL).duration == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("marks", [[0, 1, 1], [0, 0, 1], [1, 1, 1], [1, 0, 1]])
def test_a_still_is_passed_over_for_a_film(tmp_path: Path, marks: list[int]) -> None:
    path = write(tmp_path / "a.mkv", [("jpeg", 25, [jpeg(0)]), FILM, LOUD], marks)
    clip = decode(path, SMALL)
    assert np.asarray(clip.frames[3]).mean() > np.asarray(clip.frames[0]).mean() + 10


@pytest.mark.parametrize(
    ("first", "second", "silent"),
    [(0, 1, False), (1, 0, True), (1, 1, True), (0, 0, True), (1 | Disposition.visual_impaired, 1, False)],
)
def test_the_default_sound_is_taken_else_the_first(tmp_path: Path, first: int, second: int, silent: bool) -> None:
    path = write(tmp_path / "a.mkv", [FILM, QUIET, LOUD], [1, int(first), second])
    assert decode(path, SMALL).silent == silent


@pytest.mark.parametrize(("orientation", "corner"), [(1, (3, 3)), (2, (3, -4)), (3, (-4, -4)), (6, (3, -4))])
def test_side_data_without_a_name_is_no_obstacle(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    film = ("jpeg", 25, [jpeg(40, orientation)] * 50)
    clip = decode(write(tmp_path / "camera.avi", [film, LOUD], [1, 1]), PrepareSettings(size=48, crop="none"))
    assert np.asarray(clip.frames[0])[corner].mean() > 200

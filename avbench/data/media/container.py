"""Opening an untrusted media file and reading the packets of one span of time."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import av.logging
from av.error import FFmpegError

from avbench.config import MODALITIES
from avbench.data.media.streams import choose, is_cover, of_programme, stills
from avbench.data.media.track import REORDERED, Programme, Track
from avbench.data.media.verdict import Rejected, is_encrypted

# Only containers of sound and moving pictures: a playlist or a subtitle script in a .mp4's clothes could make
# ffmpeg open other files or the network.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,ogg,asf,nut,mxf,rm,dv,ivf,h264,hevc,obu,"
    "mp3,flac,wav,w64,aac,ac3,eac3,dts,dtshd,amr,amrnb,amrwb,aiff,caf,au,tta,wv,ape"
)
_TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+) exceeds")
# Packets of the two streams lie this far apart at most; a stream that is silent for longer has ended or pauses.
_INTERLEAVE_S = 30.0
# Audio codecs need the packets just before a cut to settle; what they decode to is dropped again.
_PREROLL_S = 0.5
# Places of a file that are looked at before it is sought by halving.
_PLACES = 32
# Below this rate (bytes per second of claimed duration) a header's duration is not believed.
_LEAST_RATE = 64.0
_TICK = 1e-3  # timestamps are compared to this, seconds: Matroska and FLV round to a millisecond


class Media:
    """One open file with a video and an audio stream, or one of these, and the clock they share.

    Args:
        path: The file.
        max_pixels: Largest width x height that is decoded.
        modalities: What is wanted of it; streams of another kind are not looked at.

    Attributes:
        video: The video stream; None where no pictures are wanted.
        audio: The audio stream, likewise.

    Raises:
        Rejected: The file cannot give a clip; the reason says why.
    """

    def __init__(self, path: Path | str, max_pixels: int, modalities: Sequence[str] = MODALITIES) -> None:
        self.path = str(Path(path).absolute())
        self.max_pixels = max_pixels
        self._wanted = modalities
        self.joined = False  #: whether another programme follows what :meth:`read` has read
        with av.logging.Capture() as self._log, errors_only():
            self._container = open_container(self.path, max_pixels)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Media:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _check(self) -> None:
        streams = self._container.streams
        videos = [s for s in streams.video if not is_cover(s)] if "visual" in self._wanted else []
        if (not streams.audio or not videos or self._is_mov()) and is_encrypted(self.path):
            raise Rejected("encrypted")
        if len(videos) > 1:
            videos = [self._main(videos)]
            streams = self._container.streams  # it may have been opened again
        for stream in videos:
            self._check_size(stream)
        lacking = [
            word
            for name, word, found in (("visual", "video", videos), ("audio", "audio", streams.audio))
            if name in self._wanted and not found
        ]
        if lacking:
            raise Rejected(f"no {' and no '.join(lacking)} track")
        self.video = videos[0] if videos else None
        audios = list(streams.audio) if "audio" in self._wanted else []
        if self.video is not None:
            audios = of_programme(self._container, self.video, audios)
        self.audio = choose(audios) if audios else None
        self.streams: list[Any] = [stream for stream in (self.video, self.audio) if stream is not None]
        for stream in self.streams:
            if stream.codec_context is None:
                raise Rejected(f"{_word(stream)} does not decode", "unknown codec")
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(self.max_pixels)}
        starts = [float(s.start_time * s.time_base) for s in self.streams if s.start_time is not None]
        self.origin = min(starts, default=0.0)  #: seconds on the file's clock at which the clips' clock begins

    def _main(self, videos: list[Any]) -> Any:
        still, read = stills(self._container, videos)
        if read:
            self.close()
            self._container = open_container(self.path, self.max_pixels)
            videos = [s for s in self._container.streams.video if not is_cover(s)]
        return choose(videos, still)

    def _check_size(self, stream: Any) -> None:
        context = stream.codec_context
        width, height = (context.width, context.height) if context is not None else (0, 0)
        refused = next((match for _, _, text in self._log if (match := _TOO_LARGE.search(text))), None)
        if refused and not width:
            width, height = int(refused[1]), int(refused[2])
        if width * height > self.max_pixels:
            raise Rejected("picture too large", f"{width} x {height} (limit {self.max_pixels} pixels)")

    def _is_mov(self) -> bool:
        return "mov" in self._container.format.name

    def _counts_frames(self) -> bool:
        # AVI and ASF state when a frame is decoded.
        return self._container.format.name in ("avi", "asf")

    def claimed(self) -> float:
        """Returns the seconds from ``origin`` to the end that the headers promise; 0 when none or not credible."""
        ends = []
        for stream in self.streams:
            if stream.duration:
                start = float((stream.start_time or 0) * stream.time_base)
                ends.append(start + float(stream.duration * stream.time_base) - self.origin)
        if not ends and self._container.duration:
            # Some writers mean the length, some the last timestamp; the smaller cannot wrong a whole file.
            ends.append(self._container.duration / av.time_base - max(self.origin, 0.0))
        claim = max(ends, default=0.0)
        return claim if claim * _LEAST_RATE <= Path(self.path).stat().st_size else 0.0

    def read(self, begin: float, end: float) -> tuple[Track | None, Track | None]:
        """Reads the packets needed to show [begin, end) of the streams, without decoding any.

        Args:
            begin: Start on the file's clock, seconds; beyond ``origin`` the file is sought, not read through.
            end: End on the same clock.

        Returns:
            The video track, from the last key frame at or before ``begin``, and the audio track, from a little
            before ``begin``; None for a stream that is not wanted. ``beyond`` tells whether the file goes on after
            ``end``.
        """
        video, audio = self._sought(begin, end) or self._read(begin, end)
        if video is not None:
            video.date()
        return video, audio

    def _sought(self, begin: float, end: float) -> tuple[Track | None, Track | None] | None:
        # Of sound alone, reading through costs little, and no key frame says whether seeking went right.
        if begin <= self.origin + 1.0 or self.video is None:
            return None
        with contextlib.suppress(FFmpegError):
            if self._one_clock():
                self._container.seek(int((begin - _PREROLL_S) * av.time_base))
                video, audio = self._read(begin, end)
                if video is not None and video.packets and self._starts_in_time(video, begin):
                    return video, audio
        # The index is missing or wrong: read from the start, keeping only what is needed.
        self.close()
        self._container = open_container(self.path, self.max_pixels)
        self._check()
        return None

    def _one_clock(self) -> bool:
        # These are sought by halving, which in joined programmes ends in any of them.
        if self._container.format.name not in ("mpegts", "mpeg", "nut"):
            return True
        stat = Path(self.path).stat()
        return _rises(self.path, stat.st_size, stat.st_mtime_ns, self.max_pixels)

    def _starts_in_time(self, track: Track, begin: float) -> bool:
        time = track.time(track.packets[0])
        return track.packets[0].is_keyframe and time is not None and time <= begin + _TICK

    def _read(self, begin: float, end: float) -> tuple[Track | None, Track | None]:
        undated = self.video is not None and self._counts_frames() and self.video.codec_context.codec.reorder
        video = None if self.video is None else Track(self.video, float(self.video.time_base), undated)
        audio = None if self.audio is None else Track(self.audio, float(self.audio.time_base))
        # Packets of an undated video after the span: some of their frames may be shown in it.
        past, wanted = 0, REORDERED if undated else 0
        tracks = {track.stream.index: track for track in (video, audio) if track is not None}
        programme = Programme(self._container.demux(self.streams), tracks, self.origin)
        try:
            for track, packet in programme:
                time, decoded = track.time(packet), track.decoded(packet)
                if decoded is not None and decoded >= end:
                    track.beyond = True
                    if track is video and past < wanted:
                        past += 1
                        track.packets.append(packet)
                    elif (
                        all(each.beyond for each in tracks.values()) and past == wanted
                    ) or decoded > end + _INTERLEAVE_S:
                        break
                    continue
                if track is audio:
                    if time is None or time >= begin - _PREROLL_S:
                        track.packets.append(packet)
                    continue
                if packet.is_keyframe and time is not None and time <= begin + _TICK and not packet.is_discard:
                    track.packets.clear()
                track.packets.append(packet)
        except FFmpegError:
            pass  # what was read up to a broken place is judged by its length
        self.joined = programme.ended
        return video, audio


@functools.lru_cache(maxsize=16)
def _rises(path: str, size: int, _changed: int, max_pixels: int) -> bool:
    """Tells whether the times rise from one place of a file to the next, looking at some places only."""
    last: dict[int, float] = {}
    with open_container(path, max_pixels) as container:
        for place in range(_PLACES):
            container.seek(size * place // _PLACES, unsupported_byte_offset=True)
            packet = next((packet for packet in container.demux() if packet.size and packet.dts is not None), None)
            if packet is None:
                continue
            time = float(packet.dts * packet.time_base)
            if time < last.get(packet.stream_index, time) - _TICK:
                return False
            last[packet.stream_index] = time
    return True


def _word(stream: Any) -> str:
    return "audio" if stream.type == "audio" else "video"


@contextlib.contextmanager
def errors_only() -> Iterator[None]:
    """Lets ffmpeg tell errors alone."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        yield
    finally:
        av.logging.set_level(before)


def open_container(path: str, max_pixels: int) -> Any:
    """Opens a file that may be anything.

    Args:
        path: The file.
        max_pixels: Largest picture.

    Raises:
        Rejected: It is no file with sound or moving pictures, or may not be read.
    """
    try:
        if Path(path).is_dir():
            next(Path(path).iterdir(), None)  # one that may not be read says so
        if not Path(path).is_file():
            if not Path(path).exists():
                raise Rejected("file not found", "broken link" if Path(path).is_symlink() else "")
            raise Rejected("not a file")
        if not Path(path).stat().st_size:
            raise Rejected("empty file")
        with Path(path).open("rb"):
            pass  # what may not be read is told from what is no media
        options = {
            "protocol_whitelist": "file",
            "format_whitelist": _FORMATS,
            "max_pixels": str(max_pixels),  # PyAV hands it to the decoders that probe the file as well
        }
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except MemoryError:
        raise Rejected("needs too much memory") from None
    except FFmpegError:
        if is_encrypted(path):
            raise Rejected("encrypted") from None
        raise Rejected("not a media file", "no track that ffmpeg can read") from None
    except OSError as error:
        raise Rejected("cannot be read", (error.strerror or type(error).__name__).lower()) from None

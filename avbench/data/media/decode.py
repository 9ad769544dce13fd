"""One span of a media file -> frames at given times and a mono waveform, on one clock.

The clock starts at the earlier of the two streams' first timestamps, so sound and picture stay aligned whatever a
container's start time is. Frames are chosen by timestamp, never by counting: frame k is the one on display at
``settings.times(D)[k]``. Only packets of the span are read, and of these only the frames that others refer to, or
that are wanted, are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from avbench.data.media.container import Media
from avbench.data.media.counted import counted_times
from avbench.data.media.prepare_settings import PICTURES, PrepareSettings
from avbench.data.media.sound import Sound, assemble
from avbench.data.media.stored_picture import open_picture, to_picture
from avbench.data.media.track import Track
from avbench.data.media.verdict import PastEnd, Rejected

_TICK = 1e-3  # a frame this much after the wanted time still counts as shown then, seconds
_WORTH_A_NOTE_S = 0.1
_MAX_EMPTY_WINDOWS = 100


@dataclass(frozen=True)
class DecodedSpan:
    """A usable span of a media file.

    Attributes:
        start: Where the span begins, seconds after the file's own start.
        duration: Seconds covered by sound or picture.
        frames: ``n_frames`` RGB pictures, resized and cropped; none where sound alone is wanted.
        frame_times: When each was captured, seconds from ``start``; at least 0.
        samples: int16 (n,) mono waveform, or (n, 2), beginning at ``start``; None where pictures alone are wanted.
        sample_rate: Samples per second.
        notes: What is unusual about it, or "".
        last: Whether another programme begins within the span, which none of the following spans is then of.
    """

    start: float
    duration: float
    frames: list[Image.Image]
    frame_times: list[float]
    samples: NDArray[np.int16] | None
    sample_rate: int
    notes: str
    last: bool = False

    @property
    def silent(self) -> bool:
        """Whether there is sound, and it is digital silence (at most one step of 16 bits)."""
        return self.samples is not None and bool(np.abs(self.samples.astype(np.int32)).max(initial=0) <= 1)

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The sound as float32 (n,) or (n, 2) in [-1, 1].

        Raises:
            ValueError: There is none.
        """
        if self.samples is None:
            raise ValueError("a span of pictures alone has no sound")
        return self.samples.astype(np.float32) / 32768.0


def decode(path: Path | str, settings: PrepareSettings, start: float = 0.0) -> DecodedSpan:
    """Decodes one span of a file, from ``start`` for at most ``settings.length`` seconds.

    Args:
        path: The file.
        settings: How it is prepared.
        start: Seconds.

    Raises:
        Rejected: The span cannot be used; ``str()`` is the reason.
        PastEnd: The file ends before ``start``.
    """
    try:
        if Path(path).suffix.lower() in PICTURES:
            return _picture(Path(path), settings)
        with Media(path, settings.max_pixels, settings.modalities) as media:
            try:
                return _decode(media, settings, start)
            except _SpanRejected as error:
                error.last = media.joined
                raise
    except MemoryError:
        raise Rejected("needs too much memory") from None
    except (FFmpegError, ValueError) as error:
        raise Rejected("cannot be decoded", str(error).splitlines()[0][:200]) from None


def decode_windows(path: Path | str, settings: PrepareSettings) -> Iterator[DecodedSpan | tuple[float, Rejected]]:
    """Yields the clips of a file in order of time: one, or one a window where ``settings.window`` is set.

    A span that cannot be used is yielded as (its start in seconds, why).
    """
    empty = index = 0
    while empty < _MAX_EMPTY_WINDOWS:
        start = index * settings.step
        try:
            clip = decode(path, settings, start)
            yield clip
            if clip.last:
                return
            empty = 0
        except PastEnd:
            return
        except Rejected as error:
            yield start, error
            empty += 1
            if error.last if isinstance(error, _SpanRejected) else index == 0:
                return
        if not settings.window:
            return
        index += 1


class _SpanRejected(Rejected):
    """What is wrong with one span says nothing of the next ones, unless it is the last."""

    last = False


def _picture(path: Path, settings: PrepareSettings) -> DecodedSpan:
    """Returns a file that is one picture as a clip of one frame, which has no length."""
    if "audio" in settings.modalities:
        raise Rejected("no audio track")
    frame = open_picture(path, settings)
    return DecodedSpan(
        start=0.0, duration=0.0, frames=[frame], frame_times=[0.0], samples=None, sample_rate=0, notes="", last=True
    )


def _decode(media: Media, settings: PrepareSettings, start: float) -> DecodedSpan:
    begin = media.origin + start
    end = begin + settings.length
    video, audio = media.read(begin, end)
    shown, heard = (
        [] if track is None else [(t, d) for t, d in track.shown() if t < end and t + d > begin]
        for track in (video, audio)
    )
    beyond = any(track.beyond for track in (video, audio) if track is not None)
    if not shown and not heard and not beyond and start > 0:
        raise PastEnd
    # What a file claims, another programme behind this one may have written.
    claim = 0.0 if media.joined else media.claimed()
    expected = min(claim - start, settings.length) if claim else 0.0
    video_end = min(max((t + d for t, d in shown), default=begin), end) - begin
    audio_end = min(max((t + d for t, d in heard), default=begin), end) - begin
    duration = max(video_end, audio_end)
    if duration < settings.min_fraction * expected:
        raise _SpanRejected("truncated", f"{duration:.1f} of {expected:.1f} s")
    if duration < settings.min_fraction * settings.window:
        raise _SpanRejected("shorter than a window", f"{duration:.1f} of {settings.window:.1f} s")
    if video is not None and not shown:
        raise _SpanRejected("no frame decodes")
    if audio is not None and not heard:
        raise _SpanRejected("audio does not decode")

    sound = None if audio is None else _sound(audio, begin, settings)
    seen = None if video is None else _seen(media, video, shown, begin, video_end, settings)
    heard_s = 0.0 if sound is None else len(sound.samples) / settings.sample_rate
    anew = [f"the file begins anew after {start + duration:.1f} s, the rest is left out"] if media.joined else []
    if sound is not None:
        _check_share("audio", heard_s - sound.late - sound.gaps, duration, settings)
    if seen is not None:
        _check_share("video", seen.seconds - max(seen.late, 0.0), duration, settings)
    return DecodedSpan(
        start=start,
        duration=duration,
        frames=[] if seen is None else seen.frames,
        frame_times=[] if seen is None else [max(0.0, time - begin) for time in seen.times],
        samples=None if sound is None else sound.samples,
        sample_rate=0 if sound is None else settings.sample_rate,
        notes="; ".join(anew + _notes(duration, expected, heard_s, sound, seen)),
        last=media.joined,
    )


def _sound(audio: Track, begin: float, settings: PrepareSettings) -> Sound:
    s = settings
    sound = assemble(audio.frames(), audio.tick, begin, s.length, s.sample_rate, s.channels, s.sound_clock)
    if sound is None:
        raise _SpanRejected("audio does not decode")
    return sound


@dataclass(frozen=True)
class _Seen:
    """The frames of a span, their times on the file's clock, how long there is a picture, and how late it begins, s."""

    frames: list[Image.Image]
    times: list[float]
    seconds: float
    late: float


def _seen(
    media: Media,
    video: Track,
    shown: list[tuple[float, float]],
    begin: float,
    video_end: float,
    settings: PrepareSettings,
) -> _Seen:
    # The last frame is on display to the end; a frame that comes exactly at the end is not of this span.
    looked_at = min(video_end, settings.frame_seconds or video_end)
    if settings.frame_choice == "count":
        targets = counted_times(media.video, [t for t, _ in shown], settings)
    else:
        targets = np.minimum(begin + settings.times(looked_at), shown[-1][0])
    times, frames = _pick(video, targets, settings)
    if not frames:
        raise _SpanRejected("no frame decodes")
    # Where the last frame wanted was not to be had, the picture ends with the last one that was.
    last_due = max((t for t, _ in shown if t <= targets[-1] + _TICK), default=times[-1])
    seconds = video_end if times[-1] >= last_due - _WORTH_A_NOTE_S else max(times[-1] - begin, 0.0)
    return _Seen(frames, times, seconds, shown[0][0] - begin)


def _check_share(word: str, seconds: float, duration: float, settings: PrepareSettings) -> None:
    if seconds < settings.min_fraction * duration:
        raise _SpanRejected(f"{word} too short", f"{max(seconds, 0.0):.1f} of {duration:.1f} s")


def _notes(duration: float, expected: float, heard: float, sound: Sound | None, seen: _Seen | None) -> list[str]:
    found = []
    if expected - duration > _WORTH_A_NOTE_S:
        found.append(f"{duration:.1f} of {expected:.1f} s")
    for word, stream in (("audio", sound), ("video", seen)):
        if stream is not None and stream.late > _WORTH_A_NOTE_S:
            found.append(f"{word} starts {stream.late:.1f} s late")
    if sound is not None and sound.gaps > _WORTH_A_NOTE_S:
        found.append(f"{sound.gaps:.1f} s of audio missing")
    if sound is not None and seen is not None and abs(heard - seen.seconds) > _WORTH_A_NOTE_S:
        words = ("audio", "video") if heard < seen.seconds else ("video", "audio")
        found.append(f"{words[0]} {abs(heard - seen.seconds):.1f} s shorter than {words[1]}")
    return found


def _pick(
    track: Track, targets: NDArray[np.float64], settings: PrepareSettings
) -> tuple[list[float], list[Image.Image]]:
    """Finds the frames on display at ``targets`` (seconds on the file's clock, rising).

    Returns:
        Time and picture of each. The first frame stands in for targets before it, the last one for targets after
        it; both lists are empty when no frame decodes.
    """
    times: list[float] = []
    pictures: list[Image.Image] = []
    shown: tuple[float, av.VideoFrame] | None = None
    made: tuple[float, Image.Image] | None = None

    def take() -> None:
        nonlocal made
        if shown is None:
            return
        if made is None or made[0] != shown[0]:
            made = shown[0], to_picture(shown[1], settings)
        times.append(made[0])
        pictures.append(made[1])

    for frame in track.frames(_wanted(track, targets)):
        time = frame.pts * track.tick if frame.pts is not None else (shown[0] + 0.04 if shown else float(targets[0]))
        if shown is not None and time <= shown[0]:
            continue  # timestamps that run backwards: the later frame has no time of its own
        while len(times) < len(targets) and shown is not None and targets[len(times)] + _TICK < time:
            take()
        if len(times) == len(targets):
            break
        shown = time, frame
    while shown is not None and len(times) < len(targets):
        take()
    return times, pictures


def _wanted(track: Track, targets: NDArray[np.float64]) -> set[int] | None:
    """Returns the timestamps of the packets on display at ``targets``; None where packets do not tell."""
    stamps = [packet.pts for packet in track.packets if not packet.is_discard]
    if not stamps or any(stamp is None for stamp in stamps):
        return None
    known = np.unique(np.asarray(stamps, dtype=np.int64))
    chosen = np.searchsorted(known * track.tick, targets + _TICK, side="right") - 1
    return set(known[np.clip(chosen, 0, None)].tolist())

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
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.media.sound import Sound, assemble
from avbench.data.media.stored_picture import to_picture
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
        frames: ``n_frames`` RGB pictures, resized and cropped.
        frame_times: When each was captured, seconds from ``start``; at least 0.
        samples: int16 (n,) mono waveform, beginning at ``start``.
        sample_rate: Samples per second.
        notes: What is unusual about it, or "".
        last: Whether another programme begins within the span, which none of the following spans is then of.
    """

    start: float
    duration: float
    frames: list[Image.Image]
    frame_times: list[float]
    samples: NDArray[np.int16]
    sample_rate: int
    notes: str
    last: bool = False

    @property
    def silent(self) -> bool:
        """Whether the sound is digital silence (at most one step of 16 bits)."""
        return bool(np.abs(self.samples.astype(np.int32)).max(initial=0) <= 1)

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The sound as float32 (n,) in [-1, 1]."""
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
        with Media(path, settings.max_pixels) as media:
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


def _decode(media: Media, settings: PrepareSettings, start: float) -> DecodedSpan:
    begin = media.origin + start
    end = begin + settings.length
    video, audio = media.read(begin, end)
    shown = [(t, d) for t, d in video.shown() if t < end and t + d > begin]
    heard = [(t, d) for t, d in audio.shown() if t < end and t + d > begin]
    if not shown and not heard and not (video.beyond or audio.beyond) and start > 0:
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
    if not shown:
        raise _SpanRejected("no frame decodes")
    if not heard:
        raise _SpanRejected("audio does not decode")

    sound = assemble(
        audio.frames(),
        audio.tick,
        begin,
        settings.length,
        settings.sample_rate,
        settings.channels,
        settings.sound_clock,
    )
    if sound is None:
        raise _SpanRejected("audio does not decode")
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
    seen_s = video_end if times[-1] >= last_due - _WORTH_A_NOTE_S else max(times[-1] - begin, 0.0)
    heard_s = len(sound.samples) / settings.sample_rate
    anew = [f"the file begins anew after {start + duration:.1f} s, the rest is left out"] if media.joined else []
    _check_share("audio", heard_s - sound.late - sound.gaps, duration, settings)
    _check_share("video", seen_s - max(shown[0][0] - begin, 0.0), duration, settings)
    return DecodedSpan(
        start=start,
        duration=duration,
        frames=frames,
        frame_times=[max(0.0, time - begin) for time in times],
        samples=sound.samples,
        sample_rate=settings.sample_rate,
        notes="; ".join(anew + _notes(duration, expected, heard_s, seen_s, sound, shown[0][0] - begin)),
        last=media.joined,
    )


def _check_share(word: str, seconds: float, duration: float, settings: PrepareSettings) -> None:
    if seconds < settings.min_fraction * duration:
        raise _SpanRejected(f"{word} too short", f"{max(seconds, 0.0):.1f} of {duration:.1f} s")


def _notes(duration: float, expected: float, heard: float, seen: float, sound: Sound, video_late: float) -> list[str]:
    found = []
    if expected - duration > _WORTH_A_NOTE_S:
        found.append(f"{duration:.1f} of {expected:.1f} s")
    for word, late in (("audio", sound.late), ("video", video_late)):
        if late > _WORTH_A_NOTE_S:
            found.append(f"{word} starts {late:.1f} s late")
    if sound.gaps > _WORTH_A_NOTE_S:
        found.append(f"{sound.gaps:.1f} s of audio missing")
    if abs(heard - seen) > _WORTH_A_NOTE_S:
        words = ("audio", "video") if heard < seen else ("video", "audio")
        found.append(f"{words[0]} {abs(heard - seen):.1f} s shorter than {words[1]}")
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

"""The packets of one stream that one span of time needs, and when they are shown."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from av.error import FFmpegError

# No codec puts more frames than this between a frame's place in the file and its place on the screen (H.264 and HEVC
# hold 16 pictures), counted twice for packets that hold no frame.
REORDERED = 32
_NEW_START_S = 0.1  # a step back of more than this to where the file began is a new beginning
_STEP_BACK_S = 1.0  # and so is one of more than this to anywhere


@dataclass
class Track:
    """The packets of one stream that one span of time needs, in decoding order.

    Attributes:
        stream: Their stream.
        tick: Seconds per unit of its timestamps.
        undated: Whether the container states when a packet is decoded and not when it is shown (AVI).
        packets: The packets.
        beyond: Whether the stream goes on after the span.
    """

    stream: Any
    tick: float
    undated: bool = False
    packets: list[Any] = field(default_factory=list)
    beyond: bool = False

    def time(self, packet: Any) -> float | None:
        """Returns when a packet is shown (or, where that is unknown, decoded), seconds on the file's clock."""
        stamp = packet.dts if packet.pts is None or (self.undated and packet.dts is not None) else packet.pts
        return None if stamp is None else stamp * self.tick

    def decoded(self, packet: Any) -> float | None:
        """Returns when a packet is decoded (or, where that is unknown, shown), seconds on the file's clock."""
        return self.time(packet) if packet.dts is None else packet.dts * self.tick

    def shown(self) -> list[tuple[float, float]]:
        """Returns (time, duration) of the packets that are shown, in order of time; unknown durations are guessed."""
        times = []
        for packet in self.packets:
            time = self.time(packet)
            if time is not None and not packet.is_discard:
                times.append((time, (packet.duration or 0) * self.tick))
        times.sort()
        gaps = sorted(b[0] - a[0] for a, b in itertools.pairwise(times) if b[0] > a[0])
        usual = gaps[len(gaps) // 2] if gaps else 0.04
        return [(time, duration or usual) for time, duration in times]

    def frames(self, wanted: set[int] | None = None) -> Iterator[Any]:
        """Decodes the packets; what does not decode is left out.

        Args:
            wanted: Timestamps that must be decoded; others are decoded only where later frames refer to them.
        """
        context = self.stream.codec_context
        for packet in [*self.packets, None]:
            if wanted is not None:
                context.skip_frame = "NONREF" if packet is not None and packet.pts not in wanted else "DEFAULT"
            try:
                yield from context.decode(packet)
            except MemoryError:
                raise
            except (FFmpegError, ValueError):
                continue

    def date(self) -> None:
        """Gives the packets of an undated video the times at which they are shown.

        Such a file counts frames: its timestamps in rising order belong to the frames in the order in which they come
        out of the decoder. That order is in the pictures alone, so the span is decoded once to learn it. (What
        libavformat states as presentation times of an AVI is a guess that is wrong wherever frames are reordered.)
        """
        if not self.undated:
            return
        self.undated = False
        for packet in self.packets:
            if packet.dts is not None:
                packet.pts = packet.dts
        order = [frame.pts for frame in self.frames() if frame.pts is not None]
        self.stream.codec_context.flush_buffers()
        shown = dict(zip(order, sorted(order), strict=True))
        for packet in self.packets:
            if packet.pts is not None:
                packet.pts = shown.get(packet.pts, packet.pts)


class Programme:
    """The packets of a file up to where it begins anew: two programmes may be written one behind the other.

    Each has a clock of its own there, so pictures of one would be put beside the sound of the next. Only where the
    times of two packets go back is it a new beginning; a single packet with a broken timestamp is none.

    Args:
        packets: Packets of the tracks in the file's order.
        tracks: The tracks by the index of their stream.
        origin: Where the file's clock begins, seconds.
    """

    def __init__(self, packets: Iterable[Any], tracks: Mapping[int, Track], origin: float) -> None:
        self._packets, self._tracks, self._origin = packets, tracks, origin
        self.ended = False  #: whether another programme follows

    def __iter__(self) -> Iterator[tuple[Track, Any]]:
        recent: dict[int, deque[float]] = {index: deque(maxlen=2) for index in self._tracks}
        held: dict[int, Any] = {}
        for packet in self._packets:
            if not packet.size:  # such as the one that ends a stream, which names no stream
                continue
            index = packet.stream_index
            track = self._tracks[index]
            if packet.dts is not None:
                decoded = packet.dts * track.tick
                if self._goes_back(recent[index], decoded):
                    if held:
                        self.ended = True
                        return
                    held[index] = packet
                    continue
                recent[index].append(decoded)
            if index in held:
                yield track, held.pop(index)
            yield track, packet
        yield from ((self._tracks[index], packet) for index, packet in held.items())

    def _goes_back(self, recent: Sequence[float], decoded: float) -> bool:
        back = min(recent, default=decoded) - decoded
        return back > _STEP_BACK_S or (back > _NEW_START_S and decoded < self._origin + _STEP_BACK_S / 2)

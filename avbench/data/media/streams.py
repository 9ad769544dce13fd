"""Which of a file's streams are its picture and its sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from av.error import FFmpegError
from av.stream import Disposition

# Stands beside the main stream of its kind and not for it.
_BESIDE = (
    Disposition.comment
    | Disposition.lyrics
    | Disposition.karaoke
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.clean_effects
    | Disposition.non_diegetic
    | Disposition.descriptions
    | Disposition.metadata
    | Disposition.dependent
)
_PEEK_S = 30.0  # a picture that has not moved for so long is a still


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a picture attached to the file."""
    return bool(stream.disposition & Disposition.attached_pic)


def stills(container: Any, videos: Sequence[Any]) -> tuple[set[int], bool]:
    """Returns the indices of the streams that hold one picture only, such as a cover that is not marked as one.

    Args:
        container: The open file.
        videos: The streams in question.

    Returns:
        The indices, and whether packets had to be read for it, so that the file must be opened again.
    """
    found = {stream.index for stream in videos if stream.frames == 1 or stream.disposition & Disposition.still_image}
    counts = {stream.index: 0 for stream in videos if not stream.frames and stream.index not in found}
    if not counts:
        return found, False
    first: float | None = None
    try:
        for packet in container.demux(list(videos)):
            if not packet.size:
                continue
            if packet.dts is not None:
                time = float(packet.dts * packet.time_base)
                first = time if first is None else first
                if time > first + _PEEK_S:
                    break
            counts[packet.stream_index] = counts.get(packet.stream_index, 0) + 1
            if min(counts.values()) > 1:
                break
    except FFmpegError:
        pass
    return found | {index for index, count in counts.items() if count < 2}, True


def choose(streams: Sequence[Any], passed_over: frozenset[int] | set[int] = frozenset()) -> Any:
    """Returns the stream that a player would show: the one marked as default, else the first.

    Args:
        streams: One or more of one kind.
        passed_over: Indices of those that are taken only where there is no other.
    """

    def rank(stream: Any) -> tuple[bool, bool, bool, bool, int]:
        marks = stream.disposition
        return (
            stream.codec_context is None,  # PyAV knows no decoder
            stream.index in passed_over,
            not marks & Disposition.default,
            bool(marks & _BESIDE),
            stream.index,
        )

    return min(streams, key=rank)


def of_programme(container: Any, video: Any, audios: Sequence[Any]) -> list[Any]:
    """Returns the sounds that belong to a picture: a transport stream may carry several programmes.

    Those whose own best picture, as libavformat finds it, is another one are left out, unless that is all of them.

    Args:
        container: The file.
        video: The picture.
        audios: Its sounds, of any programme.
    """
    if len(audios) < 2:
        return list(audios)
    own = [audio for audio in audios if container.streams.best("video", related=audio) == video]
    return own or list(audios)

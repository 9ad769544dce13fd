"""Why a media file or a part of it cannot be used, in words a user can act on."""

from __future__ import annotations

import os
from pathlib import Path


class Rejected(Exception):
    """A clip that cannot be used. ``str()`` is the reason, as listed in rejected.csv.

    Args:
        kind: The reason without numbers, such as ``truncated``: what is counted.
        detail: What was found, such as ``0.4 of 10.0 s``.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)


class PastEnd(Exception):
    """The asked window starts after the last packet of the file."""


def kind(reason: str) -> str:
    """Returns the part of a reason that is counted: ``truncated: 0.4 of 10.0 s`` -> ``truncated``."""
    return reason.partition(":")[0]


# Boxes of ISO base media (ISO/IEC 14496-12) that only hold other boxes, and the bytes before the first of those.
_HOLDERS = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8, b"moof": 0}
_ENCRYPTED = {b"encv", b"enca", b"pssh"}
_MAX_BOXES = 20_000


def is_encrypted(path: Path | str) -> bool:
    """Tells whether an ISO media file (mp4, mov) declares encrypted samples (ISO/IEC 23001-7: encv, enca, pssh).

    Only box headers are read, so the cost does not depend on the file's size.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as handle:
        end = handle.seek(0, os.SEEK_END)
        todo = [(0, end)]
        for _ in range(_MAX_BOXES):
            if not todo:
                return False
            position, end = todo.pop()
            if position + 8 > end:
                continue
            handle.seek(position)
            header = handle.read(16)
            size, name = int.from_bytes(header[:4], "big"), header[4:8]
            body = position + 8
            if size == 1:  # the size follows as 64 bits
                size, body = int.from_bytes(header[8:16], "big"), position + 16
            elif size == 0:  # to the end of the file
                size = end - position
            if name in _ENCRYPTED:
                return True
            if size < body - position:
                continue
            todo.append((position + size, end))
            if name in _HOLDERS:
                todo.append((body + _HOLDERS[name], min(position + size, end)))
    return False

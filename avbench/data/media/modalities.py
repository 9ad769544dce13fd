"""Which of sound and pictures a media file has."""

from __future__ import annotations

from pathlib import Path

from avbench.config import MODALITIES
from avbench.data.media.container import errors_only, open_container
from avbench.data.media.prepare_settings import PICTURES
from avbench.data.media.streams import is_cover


def modalities_of_file(path: Path | str, max_pixels: int) -> tuple[str, ...]:
    """Returns which of sound and pictures a file says that it has.

    Args:
        path: The file.
        max_pixels: Largest width x height that is decoded.

    Raises:
        Rejected: It cannot be opened.
    """
    if Path(path).suffix.lower() in PICTURES:
        return ("visual",)
    with errors_only(), open_container(str(Path(path).absolute()), max_pixels) as container:
        pictures = any(not is_cover(stream) for stream in container.streams.video)
        there = (bool(container.streams.audio), pictures)
    return tuple(name for name, found in zip(MODALITIES, there, strict=True) if found)

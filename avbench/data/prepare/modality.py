"""Which of sound and pictures the files of a source have, where the settings leave it open."""

from __future__ import annotations

from pathlib import Path

from avbench.config import MODALITIES
from avbench.data.media.prepare_settings import PICTURES, PrepareSettings
from avbench.data.prepare.payload import Done, Tracks
from avbench.data.prepare.pool import Decoders
from avbench.data.prepare.samples import SOUNDS
from avbench.data.prepare.source import Listing
from avbench.settings import change


def settled(listing: Listing, settings: PrepareSettings) -> PrepareSettings:
    """Returns the settings with the modality that the files have.

    As soon as one has sound and pictures it is both, and files with one of them are rejected as ever; else it is the
    one that all have. Files that cannot be opened do not count.

    Args:
        listing: The source.
        settings: How it is prepared.

    Raises:
        RunError: The process that looks at the files could not be started.
    """
    if settings.modality != "auto":
        return settings
    endings = {Path(file.path).suffix.lower() for file in listing.files}
    if endings <= SOUNDS or endings <= PICTURES:
        return change(settings, {"modality": "audio" if endings <= SOUNDS else "visual"})
    found = _looked_at(listing, settings)
    return change(settings, {"modality": found.pop()[0] if len(found) == 1 else "both"})


def _looked_at(listing: Listing, settings: PrepareSettings) -> set[tuple[str, ...]]:
    """Returns what the files have, each combination once; nothing as soon as one has both."""
    found: set[tuple[str, ...]] = set()
    waiting = len(listing.files)
    files = [(number, file.packed or file.path) for number, file in enumerate(listing.files)]
    with Decoders(files, settings, 1, decode=False) as pool:
        while waiting:
            for _, message in pool.messages():
                waiting -= isinstance(message, Done)
                if isinstance(message, Tracks) and message.modalities == MODALITIES:
                    return set()
                if isinstance(message, Tracks) and message.modalities:
                    found.add(message.modalities)
    return found

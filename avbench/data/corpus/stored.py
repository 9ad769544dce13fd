"""Opens clips that are stored: a prepared folder, or the authors' own layout."""

from __future__ import annotations

from pathlib import Path

from avbench.data.corpus.clips import StoredClips
from avbench.errors import InputError


def open_clips(path: Path, labels: str = "") -> StoredClips:
    """Opens a prepared folder or an authors' manifest.

    Args:
        path: A folder with ``manifest.parquet``, or a ``.json`` file (docs/protocol/cavmae.md 2.1).
        labels: Label CSV of an authors' manifest; empty: looked for beside it.

    Raises:
        InputError: ``path`` is neither, or is malformed.
    """
    if not path.exists():
        raise InputError(f"{path}: not found; valid: a prepared folder, or an authors' manifest.json.")
    if path.is_dir():
        from avbench.data.corpus.prepared import PreparedClips

        return PreparedClips.open(path)
    from avbench.data.corpus.authors import AuthorsClips

    return AuthorsClips.open(path, labels)

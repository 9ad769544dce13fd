"""Which clips weights of ours were trained on: sorted 64-bit hashes of ids in a file beside the weights.

Two million clips take 16 MB. The metadata of the weights hold the number and the hash of the list, so that a list of
other weights is not taken for theirs. Weights of others say nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.files import atomic_path
from avbench.files.paths import expanded
from avbench.recipes import initial_weights
from avbench.training.file_metadata import read_metadata

LIST = "trained_on.npy"
KEY = "trained_on"  # in the metadata of a weights file
_METADATA = "avbench"  # where those are (avbench.training.checkpoints)
_BITS = np.dtype("<u8")

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TrainedOn:
    """What is known of the clips that weights were trained on.

    Attributes:
        hashes: Those known, sorted, each once.
        complete: Whether these are all of them.
    """

    hashes: Hashes
    complete: bool

    def holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Returns which of some hashes are among them, (n,)."""
        if not len(self.hashes):
            return np.zeros(len(hashes), np.bool_)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.asarray(self.hashes[place] == hashes)


NOTHING = TrainedOn(np.zeros(0, _BITS), complete=True)
UNKNOWN = TrainedOn(np.zeros(0, _BITS), complete=False)


def hash_clips(ids: Iterable[str]) -> Hashes:
    """Returns a hash for each id, (n,)."""
    digests = (hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids)
    return np.frombuffer(b"".join(digests), _BITS)


def of_init(source: str) -> TrainedOn:
    """Returns what is known of weights that a training starts from: random ones and image models saw no clip."""
    if not source or source.startswith(initial_weights.TIMM):
        return NOTHING
    named = initial_weights.known().get(initial_weights.name_of(source))
    return NOTHING if named is not None and not named.clips else read(expanded(source))


def write(folder: Path, ids: Iterable[str], start: TrainedOn = NOTHING) -> dict[str, Any]:
    """Writes the list of clips of a training that begins.

    Args:
        folder: Where the weights will be.
        ids: The clips of the training.
        start: Those of the weights it starts from.

    Returns:
        What the weights' metadata say of it.
    """
    hashes = np.unique(np.concatenate([hash_clips(ids), start.hashes]))
    with atomic_path(folder / LIST) as temporary, temporary.open("wb") as handle:
        np.save(handle, hashes, allow_pickle=False)
    return {KEY: {"clips": len(hashes), "sha256": _sha256(hashes), "complete": start.complete}}


def read(weights: Path) -> TrainedOn:
    """Returns what is known of the clips of a weights file; of one without a list of ours, nothing."""
    said = _metadata(weights).get(KEY)
    path = weights.parent / LIST
    if not isinstance(said, Mapping) or not path.is_file():
        return UNKNOWN
    try:
        hashes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return UNKNOWN
    if hashes.dtype != _BITS or hashes.ndim != 1 or _sha256(hashes) != said.get("sha256"):
        return UNKNOWN
    return TrainedOn(hashes, complete=bool(said.get("complete")))


def _sha256(hashes: Hashes) -> str:
    return hashlib.sha256(hashes.astype(_BITS).tobytes()).hexdigest()


def _metadata(weights: Path) -> Mapping[str, Any]:
    """Returns the metadata of a weights file of ours, without reading its tensors; of any other file, nothing."""
    try:
        return read_metadata(weights, _METADATA)
    except InputError:
        return {}

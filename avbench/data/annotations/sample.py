"""What all annotation files become: samples, each a picture, a sound, and where in the picture the sound comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError

Float32 = npt.NDArray[np.float32]
Truth = Callable[[int, float], Float32]  # (size in pixels, width over height of the picture) -> (size, size) weights
Mapping = Literal["stretch", "crop"]
NAMED = 3  # ids named in an error


@dataclass(frozen=True)
class Sample:
    """One judged pair of a picture and a sound.

    Attributes:
        id: Unique in its set; that of the clip where the clip has one picture judged.
        truth: Draws the ground truth; None for a negative, where nothing that is seen sounds.
        visual: Id of the clip the picture is from; empty: ``id``.
        audio: Id of the clip the sound is from; empty: that of the picture.
        label: Class name, or empty.
        time: When in the clip the picture was annotated, seconds; None: a single picture, or not known.
        group: Samples of one picture, or of one clip, share it; empty: ``id``.
    """

    id: str
    truth: Truth | None
    visual: str = ""
    audio: str = ""
    label: str = ""
    time: float | None = None
    group: str = ""

    @property
    def picture_clip(self) -> str:
        """Id of the clip the picture is from."""
        return self.visual or self.id

    @property
    def sound_clip(self) -> str:
        """Id of the clip the sound is from."""
        return self.audio or self.picture_clip

    @property
    def picture(self) -> str:
        """What samples of one picture, or of one clip, share."""
        return self.group or self.id


class Annotations:
    """Samples of one set, in its own order.

    Args:
        protocol: Name of the set's protocol.
        samples: The samples.
        size: Side of the maps that are judged, pixels.

    Raises:
        InputError: No samples, or an id twice.
    """

    def __init__(self, protocol: str, samples: Iterable[Sample], size: int) -> None:
        self.protocol = protocol
        self.samples = list(samples)
        self.size = size
        if not self.samples:
            raise InputError(f"{protocol}: found no annotation, valid: one or more.")
        seen: set[str] = set()
        twice = [s.id for s in self.samples if s.id in seen or seen.add(s.id)]  # type: ignore[func-returns-value]
        if twice:
            raise InputError(
                f"{protocol}: found {len(twice)} ids a second time ({', '.join(twice[:NAMED])}), valid: each once."
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def ids(self) -> list[str]:
        """Each sample's id."""
        return [sample.id for sample in self.samples]

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return hash_ids(self.ids)

    def select(self, rows: Sequence[int] | npt.NDArray[Any]) -> Annotations:
        """Returns the samples at ``rows``, in that order."""
        return Annotations(self.protocol, [self.samples[int(row)] for row in rows], self.size)

    def with_negatives(self, negatives: Iterable[Sample]) -> Annotations:
        """Returns these samples and then the negatives."""
        return Annotations(self.protocol, [*self.samples, *negatives], self.size)

    def masks(self, rows: Sequence[int] | npt.NDArray[Any], aspects: Sequence[float] | None = None) -> Float32:
        """Draws ground truths.

        Args:
            rows: Which samples.
            aspects: Width over height of each of these pictures, where they were cropped to the square in the middle
                that the model sees and boxes have to move with it; None: the square holds the whole picture.

        Returns:
            float32 (len(rows), size, size), weights in [0, 1]; zeros for negatives.

        Raises:
            InputError: A mask file is missing or cannot be read.
        """
        found = np.zeros((len(rows), self.size, self.size), np.float32)
        for place, row in enumerate(rows):
            truth = self.samples[int(row)].truth
            if truth is not None:
                found[place] = truth(self.size, 1.0 if aspects is None else aspects[place])
        return found

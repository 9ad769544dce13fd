"""The batches of an extraction: what one process computes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avbench.store import parts
from avbench.store.extracted import Arrays, Kind

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.encoders.judged import Judged


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches to compute; a batch is the same clips whoever computes it, and however many there are.

    Attributes:
        kind: ``vectors``, ``single vectors`` or ``tokens``.
        judged: With its weights, on ``device``.
        clips: The clips; row i of every array belongs to clip i.
        folder: Where rows go.
        device: Where to compute.
        readers: Processes that read clips, beside each that computes.
        threads: Of torch, in each process: bits depend on it, so it must not depend on how many processes there are.
        todo: The batches to compute.
    """

    kind: Kind
    judged: Judged
    clips: Clips
    folder: Path
    device: str
    readers: int
    threads: int
    todo: Sequence[int]

    def compute(self, batches: Sequence[int]) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows (k,) and arrays (k, F, ...) of each batch; ``batches`` rise.

        Raises:
            RunError: A clip cannot be read, or an encoder fails.
        """
        return self.judged.computed(self.kind, self.clips, self._order(batches), workers=self.readers)

    def _order(self, batches: Sequence[int]) -> npt.NDArray[np.int64]:
        size = self.judged.batch_size
        firsts = np.array(batches, np.int64) * size
        return np.concatenate([np.arange(f, min(f + size, len(self.clips))) for f in firsts] or [firsts])

    @property
    def name(self) -> str:
        """See :class:`avbench.running.crew.Job`."""
        return "extraction"

    def variables(self, rank: int, world: int) -> dict[str, str]:
        """See :class:`avbench.running.crew.Job`: each process sees one GPU, on which the method that it is given is."""
        from avbench.training.device import gpus

        if self.device != "cuda":
            return {}
        names = gpus()
        return {"CUDA_VISIBLE_DEVICES": names[rank % len(names)]}

    def compute_share(self, rank: int, world: int, report: Callable[[int], None]) -> None:
        """Computes one process's share of the batches into parts; reports the clips of each batch once it is held.

        Args:
            rank: Which share.
            world: Of how many.
            report: Told how many more clips are held.

        Raises:
            RunError: A clip cannot be read.
        """
        with parts.PartWriter(self.folder) as writer:
            for rows, values in self.compute(parts.share(self.todo, rank, world)):
                writer.write(rows, values)
                report(len(rows))

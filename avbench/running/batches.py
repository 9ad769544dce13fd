"""The batches of an extraction: what one process computes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avbench.running.identity import Kind
from avbench.store import parts
from avbench.store.extracted import EMBEDDING, Arrays

if TYPE_CHECKING:
    import torch

    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.data.feed.dataset import Mode
    from avbench.encoders.adapted import Adapted
    from avbench.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches to compute; a batch is the same clips whoever computes it, and however many there are.

    Attributes:
        kind: ``vectors`` or ``tokens``.
        method: With its weights, on ``device``, in evaluation mode.
        clips: The clips; row i of every array belongs to clip i.
        config: Input sizes, frames, precision and readers.
        folder: Where rows go.
        device: Where to compute.
        readers: Processes that read clips, beside each that computes.
        threads: Of torch, in each process: bits depend on it, so it must not depend on how many processes there are.
        size: Clips a batch; the last has what is left.
        todo: The batches to compute.
    """

    kind: Kind
    method: Method | Adapted
    clips: Clips
    config: RunConfig
    folder: Path
    device: str
    readers: int
    threads: int
    size: int
    todo: Sequence[int]

    @property
    def mode(self) -> Mode:
        """Methods that look at windows around frames see all of them; the others one frame a clip."""
        return "all_frames" if self.config.input.segment_length else "eval"

    def compute(self, batches: Sequence[int]) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows (k,) and arrays (k, F, ...) of each batch; ``batches`` rise.

        Raises:
            RunError: A clip cannot be read.
        """
        import torch

        from avbench.data.feed.batch import arrays, moved
        from avbench.data.feed.loader import Feed
        from avbench.encoders.adapted import Adapted
        from avbench.training import fitting
        from avbench.training.precision import autocast

        if isinstance(self.method, Adapted):
            yield from self._heard(self.method, batches)
            return
        feed = Feed(self.clips, self.config.input, mode=self.mode, workers=self.readers, device=self.device)
        compute: Callable[..., dict[str, torch.Tensor]]
        compute = self.method.local_tokens if self.kind == "tokens" else _vectors(self.method)

        def computed() -> Iterator[tuple[npt.NDArray[np.int64], dict[str, torch.Tensor]]]:
            for batch in moved(feed.batches(self._order(batches), self.size), self.device):
                with torch.inference_mode(), autocast(self.config.precision, self.device):
                    found = fitting.in_parts(compute, *batch.inputs(self.device))
                yield np.asarray(batch.index, np.int64), found

        for rows, values in arrays(computed()):
            yield rows, {name: _frames(value, self.mode) for name, value in values.items()}

    def _heard(
        self, encoder: Adapted, batches: Sequence[int]
    ) -> Iterator[tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[np.float32]]]]:
        """Yields the same of anybody's encoder."""
        from avbench.data.feed import loader

        clips = encoder.heard(self.clips)
        compute = encoder.tokens if self.kind == "tokens" else encoder.vectors
        for batch in loader.batches(clips, self._order(batches), self.size, workers=self.readers):
            rows = np.asarray(batch.index, np.int64)
            yield rows, compute(batch, [self.clips.ids[row] for row in rows.tolist()])

    def _order(self, batches: Sequence[int]) -> npt.NDArray[np.int64]:
        firsts = np.array(batches, np.int64) * self.size
        return np.concatenate([np.arange(f, min(f + self.size, len(self.clips))) for f in firsts] or [firsts])

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


def _vectors(method: Method) -> Callable[..., dict[str, torch.Tensor]]:
    from avbench.registry.contract import embeds_apart

    apart = embeds_apart(method)

    def compute(audio: torch.Tensor | None, visual: torch.Tensor | None) -> dict[str, torch.Tensor]:
        found = method.vectors(audio, visual)
        if (found and not apart) or audio is None or visual is None:
            return found
        sounds, pictures = method.embed(audio, visual)
        return {**found, f"{EMBEDDING}audio": sounds, f"{EMBEDDING}visual": pictures}

    return compute


def _frames(values: npt.NDArray[np.float32], mode: str) -> npt.NDArray[np.float32]:
    """Returns (n, F, ...) from itself or, of one frame a clip, from (n, ...)."""
    return values if mode == "all_frames" else values[:, None]

"""A batch of clips, and its way to a GPU: pinned, on a stream of its own, the frames as the bytes they decode to.

A step does not wait for its batch: the copy runs while the GPU is at the step before, whose work was queued long ago.
What comes back is read when the next batch is queued. On a CPU nothing is copied or put off.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.media.images import normalise_bytes

B = TypeVar("B")
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Batch:
    """Several clips; the tensors of :class:`~avbench.data.feed.dataset.Item` with a first axis of length B.

    Attributes:
        index: Positions in the dataset, int64 (B,); they stay on the CPU.
        audio: See there; None of pictures alone.
        visual: See there, None of sound alone; uint8 (B, H, W, 3) or (B, F, H, W, 3) where the frames are ``raw``.
        target: See there.
        raw: Means and deviations of frames that are not normalised yet; :meth:`to` does that.
    """

    index: Tensor
    audio: Tensor | None
    visual: Tensor | None
    target: Tensor | None = None
    raw: InputConfig | None = None

    def pin_memory(self) -> Batch:
        """Returns the batch in memory that a GPU reads by itself; torch's loader asks for it."""
        parts = (self.audio, self.visual, self.target)
        audio, visual, target = (None if part is None else part.pin_memory() for part in parts)
        return replace(self, audio=audio, visual=visual, target=target)

    def to(self, device: str) -> Batch:
        """Returns the batch on a device, with normalised frames."""
        audio, visual, target = (
            None if tensor is None else tensor.to(device, non_blocking=True)
            for tensor in (self.audio, self.visual, self.target)
        )
        if self.raw is not None and visual is not None:
            visual = normalise_bytes(visual, self.raw)
        return Batch(self.index, audio, visual, target)

    def inputs(self, device: str) -> tuple[Any, Any]:
        """Returns sound and picture on a device: None for what the clips do not have."""
        there = self.to(device)
        return there.audio, there.visual


def moved(batches: Iterable[B], device: str) -> Generator[B]:
    """Yields batches on a device; those of another kind as they are.

    Args:
        batches: On the CPU.
        device: Where to.
    """
    stream: Any = torch.cuda.Stream() if device == "cuda" else None  # type: ignore[no-untyped-call]
    for batch in batches:
        there: Any = batch
        if isinstance(batch, Batch) and isinstance(batch.visual if batch.audio is None else batch.audio, Tensor):
            there = batch.to(device) if stream is None else _copied(batch, device, stream)
        yield there


def _copied(batch: Batch, device: str, stream: Any) -> Batch:
    """Returns a batch on its way to a GPU; what is queued for the present stream from now on finds it there."""
    with torch.cuda.stream(stream):
        there = batch.pin_memory().to(device)
    current = torch.cuda.current_stream()
    current.wait_stream(stream)
    for tensor in (there.audio, there.visual, there.target):
        if tensor is not None:
            tensor.record_stream(current)  # its memory is not given away before that stream has used it
    return there


def arrays(results: Iterable[tuple[K, Mapping[str, Tensor]]]) -> Iterator[tuple[K, dict[str, NDArray[np.float32]]]]:
    """Yields named tensors as arrays; those of a GPU when the next are queued, so that it does not run dry.

    Args:
        results: Each with a key of its own.
    """
    waiting: tuple[K, dict[str, Tensor], Any] | None = None
    for key, found in results:
        there = any(value.is_cuda for value in found.values())
        here = {name: value.float().to("cpu", non_blocking=True) for name, value in found.items()}
        if waiting is not None:
            yield _read(*waiting)
        waiting = key, here, torch.cuda.current_stream().record_event() if there else None
        if not there:
            yield _read(*waiting)
            waiting = None
    if waiting is not None:
        yield _read(*waiting)


def _read(key: K, here: Mapping[str, Tensor], event: Any) -> tuple[K, dict[str, NDArray[np.float32]]]:
    if event is not None:
        event.synchronize()
    return key, {name: value.numpy() for name, value in here.items()}

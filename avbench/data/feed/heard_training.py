"""Clips as anybody's encoder is fine-tuned on them: waveforms and pictures, mixed and labelled as a recipe asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.data.feed import loader
from avbench.data.feed.augment import Augment, Mix, mix_waveforms
from avbench.data.feed.batch import Batch
from avbench.data.feed.heard import HeardClips


@dataclass(frozen=True)
class Several:
    """What clips have of one modality, where a tensor stands for methods: it is cut, moved and counted like one.

    Attributes:
        items: One of each clip.
        times: Of pictures, when they are shown; of sounds, none.
    """

    items: list[Any]
    times: list[Tensor]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, part: slice) -> Several:
        return Several(self.items[part], self.times[part])

    def to(self, device: str, *, non_blocking: bool = False) -> Several:
        """Returns the same on a device."""
        return Several(*(moved(each, device) for each in (self.items, self.times)))


def moved(value: Any, device: str, *, copy: bool = False) -> Any:
    """Returns tensors, alone or in lists, tuples and mappings, on a device.

    Args:
        value: What holds them.
        device: Where they are wanted.
        copy: Copy those that are there already.
    """
    if isinstance(value, torch.Tensor):
        return value.to(device, copy=copy)
    if isinstance(value, dict):
        return {key: moved(each, device, copy=copy) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(each, device, copy=copy) for each in value)
    return value


class HeardTraining:
    """Reads clips for an encoder, mixed with others where a recipe says so.

    Masks, noise and rolls of spectrograms are methods' alone: sounds are waveforms here.

    Args:
        heard: Reads single clips.
        augment: Mixing and targets; None: neither.
        seed: Of all draws.

    Attributes:
        epoch: What draws depend on.
        frames_per_item: Pictures of a clip.
    """

    def __init__(self, heard: HeardClips, augment: Augment | None, seed: int) -> None:
        self._heard, self._augment, self._seed = heard, augment, seed
        self.epoch = 0
        self.frames_per_item = heard.wants.frames

    def __len__(self) -> int:
        return len(self._heard)

    def batch(self, indices: NDArray[Any], repeats: NDArray[Any]) -> Batch:
        """Returns the clips at ``indices``, of which ``repeats`` came before in this epoch.

        Raises:
            RunError: A clip cannot be read; the message names it.
        """
        heard, sounds, pictures, times, targets = self._heard, [], [], [], []
        hears, sees = ("audio" in heard.modalities, "visual" in heard.modalities)
        for i, repeat in zip(indices.tolist(), repeats.tolist(), strict=True):
            counters = (self.epoch, i, repeat) if repeat else (self.epoch, i)
            mix = self._augment.mix(len(self), self._seed, *counters) if self._augment is not None else None
            if hears:
                sounds.append(heard.prepared("audio", i, self._sound(i, mix), heard.wants.sample_rate))
            if sees:
                shown, when = self._pictures(i, mix)
                pictures.append(heard.prepared("visual", i, shown, when))
                times.append(when)
            if self._augment is not None:
                targets.append(self._augment.target(i, mix))
        return Batch(
            torch.tensor(indices.tolist()),
            cast(Tensor, Several(sounds, [])) if hears else None,
            cast(Tensor, Several(pictures, times)) if sees else None,
            torch.from_numpy(np.stack(targets)) if targets else None,
        )

    def _sound(self, i: int, mix: Mix | None) -> Tensor:
        own = self._heard.sound(i)
        if mix is None:
            return own
        other = self._heard.sound(mix.partner)
        pairs = zip(own.reshape(-1, own.shape[-1]), other.reshape(-1, other.shape[-1]), strict=True)
        channels = [mix_waveforms(a.numpy(), b.numpy(), mix.weight) for a, b in pairs]
        return torch.from_numpy(np.stack(channels)).reshape(own.shape)

    def _pictures(self, i: int, mix: Mix | None) -> tuple[Tensor, Tensor]:
        own, times = self._heard.pictures(i)
        if mix is None:
            return own, times
        other, _ = self._heard.pictures(mix.partner)
        if other.shape != own.shape:  # pictures as they are, of another size: the sounds alone are mixed
            return own, times
        return (own * mix.weight + other * (1 - mix.weight)).round().to(torch.uint8), times


class HeardFeed:
    """Batches for fine-tuning an encoder, as :class:`~avbench.data.feed.loader.Feed` gives a method's.

    Args:
        heard: Reads single clips.
        augment: Mixing and targets; None: neither.
        seed: Of all draws.
        workers: Processes that read.

    Attributes:
        dataset: The items.
        workers: Processes that will read clips beside this one.
    """

    def __init__(self, heard: HeardClips, *, augment: Augment | None = None, seed: int = 0, workers: int = -1) -> None:
        self.dataset = HeardTraining(heard, augment, seed)
        self._wanted = workers
        self.workers = loader.worker_count(workers)
        self._readers = loader.Readers(self.dataset, workers)

    def batches(
        self,
        order: NDArray[np.integer],
        batch_size: int,
        *,
        epoch: int = 0,
        skip: int = 0,
        drop_last: bool = False,
        before: NDArray[np.integer] | None = None,
    ) -> Iterator[Batch]:
        """Yields batches; arguments as for :meth:`avbench.data.feed.loader.Feed.batches`."""
        self.dataset.epoch = epoch
        return loader.batches(
            self.dataset,
            order,
            batch_size,
            workers=self._wanted,
            start=skip,
            drop_last=drop_last,
            readers=self._readers,
            before=before,
        )

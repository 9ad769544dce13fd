"""An encoder as tasks ask of a model: it computes vectors and tokens of clips, its errors told in one line."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from avbench import registry
from avbench.config import RunConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed import loader
from avbench.data.feed.heard import HeardBatch, HeardClips
from avbench.data.feed.heard_training import moved
from avbench.encoders import returned
from avbench.encoders.finetuned import EncoderClassifier, HeardEncoder
from avbench.encoders.made import build, is_drawn, wants_of
from avbench.encoders.returned import Float32
from avbench.errors import RAISED, AvbenchError, RunError
from avbench.methods.classifier import Classifier, Streams
from avbench.registry.encoders import defines, told
from avbench.store.extracted import Arrays, Kind
from avbench.training.precision import autocast

_BLOCK = 1024  # pictures that are compared at once


def _parts(encoder: Any) -> Iterator[torch.nn.Module]:
    """Yields the modules that an encoder holds: attributes, and what is in lists and mappings of them."""
    for value in vars(encoder).values():
        held = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else (value,)
        yield from (each for each in held if isinstance(each, torch.nn.Module))


class Adapted:
    """An encoder with its weights on a device; see :class:`~avbench.encoders.judged.Judged`.

    Args:
        config: What finds it, its constructor's arguments, the file of its weights, what its first ones are drawn by
            where it says that they are drawn, and the precision: ``fp32``, as it computes by itself; else autocast.
        device: ``cpu`` or ``cuda``.

    Raises:
        RunError: It cannot be loaded.
    """

    def __init__(self, config: RunConfig, device: str) -> None:
        self._made_by = (config, device)
        name, options = config.method_name, config.method
        self.wants = wants_of(name, options)
        self.device, self.precision = device, config.precision
        self.shown = registry.find("method", name).shown
        self.file = registry.find("method", name).path
        self._called = f"encoder {self.shown}" + ("" if self.shown == name else f" ({name})")
        self._widths: dict[str, tuple[int, ...]] = {}
        drawn = config.seed if is_drawn(name, options) else 0
        torch.manual_seed(drawn)
        np.random.seed(drawn)  # what somebody's code may draw from
        random.seed(drawn)
        self.encoder = build(name, options)
        try:
            self.encoder.load(device, config.checkpoint)
            if isinstance(self.encoder, torch.nn.Module):
                self.encoder.to(device).eval()
            for part in _parts(self.encoder):
                part.eval()
        except AvbenchError:
            raise
        except RAISED as error:
            raise RunError(f"{self._called}: load failed: {told(error, self.file)}.") from error

    def __reduce__(self) -> Any:
        """Other processes load it by themselves."""
        return Adapted, self._made_by

    @property
    def batch_size(self) -> int:
        """Clips a call."""
        return int(self.encoder.batch_size)

    @property
    def scores(self) -> Callable[[Float32, Float32], Iterator[Float32]] | None:
        """What compares clips where the encoder does so by a similarity of its own."""
        return self._similarities if defines(self.encoder, "similarity") else None

    def heard(self, clips: Clips) -> HeardClips:
        """Returns what reads clips for it; it may return other shapes of these than of others before."""
        self._widths.clear()
        return HeardClips(clips, self.wants, self.prepare)

    @property
    def prepare(self) -> dict[str, Callable[..., Any]]:
        """What its ``prepare_`` functions do to one clip, as :class:`~avbench.data.feed.heard.HeardClips` calls it."""
        names = {each: f"prepare_{each}" for each in self.wants.modalities}
        return {
            each: functools.partial(self._prepare, name) for each, name in names.items() if defines(self.encoder, name)
        }

    def _prepare(self, name: str, clip: str, value: Any, beside: Any) -> Any:
        try:
            return getattr(self.encoder, name)(value, beside)
        except RAISED as error:
            raise RunError(f"{self._called}: {name} failed with clip '{clip}': {told(error, self.file)}.") from error

    def computed(
        self, kind: Kind, clips: Clips, order: npt.NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows and arrays of each batch; see :class:`~avbench.encoders.judged.Judged`.

        Args:
            kind: ``vectors`` or ``tokens``.
            clips: The clips.
            order: Which of them, in which order.
            workers: Processes that read them.
        """
        compute = self.tokens if kind == "tokens" else self.vectors
        for batch in loader.batches(self.heard(clips), order, self.batch_size, workers=workers):
            rows = np.asarray(batch.index, np.int64)
            yield rows, compute(batch, [clips.ids[row] for row in rows.tolist()])

    def classifier(
        self, n_classes: int, *, mode: str, head: str, streams: Streams, n_frames: int, seed: int
    ) -> Classifier:
        """Returns the encoder itself with a new head; see :class:`~avbench.encoders.judged.Judged`.

        Args:
            n_classes: Logits a clip.
            mode: What it will be trained in.
            head: ``auto`` or ``linear``.
            streams: See :class:`~avbench.encoders.finetuned.HeardEncoder`.
            n_frames: Not used: its vectors of a clip are averaged.
            seed: Of the head's first weights.
        """
        kind: Any = "linear" if head == "auto" else head
        model = EncoderClassifier(HeardEncoder(self), n_classes, mode=mode, streams=streams, head=kind, seed=seed)
        return model.to(self.device)

    def vectors(self, batch: HeardBatch, clips: Sequence[str]) -> dict[str, Float32]:
        """Returns ``audio``, ``visual`` and ``joint``, those there are, (B, F, D).

        Args:
            batch: The clips.
            clips: Their ids.

        Raises:
            RunError: A function failed, or returned what cannot be used.
        """
        given = {"audio": batch.sounds, "visual": batch.pictures}
        found = {each: self._vectors(each, batch, clips) for each in self.wants.modalities if given[each]}
        if defines(self.encoder, "joint") and len(found) == len(given):
            found["joint"] = self._vectors("joint", batch, clips)
        return found

    def tokens(self, batch: HeardBatch, clips: Sequence[str]) -> dict[str, Float32]:
        """Returns what localization compares: ``visual`` (B, F, h, w, D) and ``audio`` (B, F, D).

        A sound is the mean of its tokens, or its vector. Of several vectors beside one picture it is their mean.
        """
        patches = self.checked("patches", batch, clips)
        patches = patches if patches.ndim == 5 else patches[:, None]
        if defines(self.encoder, "audio_tokens"):
            sounds = self.checked("audio_tokens", batch, clips).mean(axis=1, keepdims=True)
        else:
            sounds = self._vectors("audio", batch, clips)
        frames = patches.shape[1]
        if sounds.shape[1] not in (1, frames):
            sounds = sounds.mean(axis=1, keepdims=True)
        if sounds.shape[-1] != patches.shape[-1]:
            raise RunError(
                f"{self._called}: found sounds of width {sounds.shape[-1]} and patches of width {patches.shape[-1]},"
                " valid: the same, to compare them."
            )
        return {"visual": patches, "audio": np.repeat(sounds, frames // sounds.shape[1], axis=1)}

    def _similarities(self, audio: Float32, visual: Float32) -> Iterator[Float32]:
        """Yields how similar the sounds of some clips and the pictures of all are, (B, n), as the encoder has it.

        Args:
            audio: (n, F, D) of all clips.
            visual: (n, G, D) likewise.

        Raises:
            RunError: ``similarity`` failed, or returned what cannot be used.
        """
        for start in range(0, len(audio), self.batch_size):
            part = torch.from_numpy(audio[start : start + self.batch_size]).to(self.device)
            blocks = (torch.from_numpy(visual[first : first + _BLOCK]) for first in range(0, len(visual), _BLOCK))
            yield np.concatenate([self._scores(part, block.to(self.device)) for block in blocks], axis=1)

    def _scores(self, sounds: torch.Tensor, pictures: torch.Tensor) -> Float32:
        where, count = f"{self._called}: similarity", f"{len(sounds)} sounds and {len(pictures)} pictures"
        try:
            with torch.inference_mode(), autocast(self.precision, self.device):
                value = self.encoder.similarity(sounds, pictures)
        except RAISED as error:
            raise RunError(f"{where} failed with {count}: {told(error, self.file)}.") from error
        tensor = isinstance(value, torch.Tensor)
        if not tensor or value.shape != (len(sounds), len(pictures)):
            found = f"shape {tuple(value.shape)}" if tensor else type(value).__name__
            raise RunError(f"{where} returned {found} for {count}, valid: a tensor (A, V).")
        scores: Float32 = value.to("cpu", torch.float32).numpy()
        if not np.isfinite(scores).all():
            raise RunError(f"{where} returned values that are not finite for {count}, valid: finite numbers.")
        return scores

    def _vectors(self, name: str, batch: HeardBatch, clips: Sequence[str]) -> Float32:
        found = self.checked(name, batch, clips)
        return found if found.ndim == 3 else found[:, None]

    @property
    def functions(self) -> tuple[str, ...]:
        """Those that it defines."""
        return tuple(name for name in returned.SHAPES if defines(self.encoder, name))

    def answers(self, function: str, batch: HeardBatch, clips: Sequence[str]) -> Arrays:
        """Returns what a function gives, by its name; arguments as for :meth:`checked`.

        Args:
            function: One of :attr:`functions`.
            batch: The clips.
            clips: Their ids.
        """
        return {function: self.checked(function, batch, clips)}

    def checked(self, name: str, batch: HeardBatch, clips: Sequence[str]) -> Float32:
        """Returns what a function gives for some clips.

        Args:
            name: The function.
            batch: The clips.
            clips: Their ids.

        Raises:
            RunError: It failed, or returned something else.
        """
        # Copies, as a function may change what it is given, and the next one gets the same.
        given = (batch.sounds, batch.pictures, batch.times)
        sounds, pictures, times = (moved(each, self.device, copy=True) for each in given)
        heard, seen = (sounds, batch.rate), (pictures, times)
        arguments = {"audio": heard, "audio_tokens": heard, "joint": (*heard, *seen)}.get(name, seen)
        value = self._call(name, clips, *arguments)
        found = returned.checked(value, f"{self._called}: {name}", clips, returned.SHAPES[name])
        width = self._widths.setdefault(name, found.shape[1:])
        if width != found.shape[1:]:
            raise RunError(
                f"{self._called}: {name} returned shape {tuple(found.shape)} for clips {clips[0]} to {clips[-1]}, and"
                f" {('B', *width)} before, valid: the same for all clips."
            )
        return found

    def _call(self, name: str, clips: Sequence[str], *arguments: Any) -> Any:
        """Calls a function; where it fails with several clips, says with which of them it fails alone."""
        function = getattr(self.encoder, name)
        try:
            with torch.inference_mode(), autocast(self.precision, self.device):
                return function(*arguments)
        except torch.OutOfMemoryError:
            raise
        except RAISED as error:
            reason = told(error, self.file)
            if len(clips) == 1:
                raise RunError(f"{self._called}: {name} failed with clip '{clips[0]}': {reason}.") from error
        for row, clip in enumerate(clips):
            self._call(name, [clip], *(each[row : row + 1] if isinstance(each, list) else each for each in arguments))
        raise RunError(
            f"{self._called}: {name} failed with {len(clips)} clips together ({clips[0]} to {clips[-1]}), not with any"
            f" alone: {reason}."
        )

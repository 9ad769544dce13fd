"""A method as runs judge it: it hears spectrograms and sees normalised frames, which are made of clips for it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avbench import registry
from avbench.config import RunConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed.batch import Batch, arrays, moved
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.loader import Feed
from avbench.encoders import returned
from avbench.errors import RAISED, RunError
from avbench.methods.base import Method
from avbench.methods.classifier import Classifier, Streams, build_classifier
from avbench.methods.family import FamilyMethod
from avbench.registry.contract import embeds_apart
from avbench.registry.encoders import told
from avbench.store.extracted import EMBEDDING, Arrays, Kind
from avbench.training import fitting
from avbench.training.compiled import frozen_blocks
from avbench.training.precision import autocast

_TOKENS = {2: "(B, D)", 3: "(B, F, D) or (B, P, D)", 4: "(B, F, P, D)"}
_BATCH = 64  # frames a forward pass: fits a GPU at base size
_MANY = 100  # times so many frames: from there on compiling pays
_FEWEST, _CACHED = 4, 2**19  # on a CPU: fewer, whose values stay in its cache; 1.1 to 1.4 times as fast, the same bits


class OfMethod:
    """A method with its weights; see :class:`~avbench.encoders.judged.Judged`.

    Args:
        method: On ``device``, in evaluation mode.
        config: Input sizes, frames and precision.
        device: ``cpu`` or ``cuda``.

    Attributes:
        batch_size: Clips a forward pass, in this process and in those that share its work.
    """

    scores = None  # vectors are compared by their cosine

    def __init__(self, method: Method, config: RunConfig, device: str) -> None:
        self.method, self._config, self.device = method, config, device
        several = config.input.segment_length > 0
        self._frames = max(1, config.data.n_frames) if several else 1
        self.batch_size = max(1, (_BATCH if device == "cuda" else _in_cache(config)) // self._frames)
        self._mode: Literal["all_frames", "eval"] = "all_frames" if several else "eval"

    def computed(
        self, kind: Kind, clips: Clips, order: npt.NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows and arrays of each batch, of all frames where a method looks at windows around them, else of one.

        Args:
            kind: ``vectors``, ``single vectors`` or ``tokens``.
            clips: The clips.
            order: Which of them, in which order.
            workers: Processes that read them.

        Raises:
            RunError: A clip cannot be read.
        """
        feed = Feed(clips, self._config.input, mode=self._mode, workers=workers, device=self.device)
        batches = moved(feed.batches(order, self.batch_size), self.device)
        found = ((np.asarray(batch.index, np.int64), self._computed(kind, batch)) for batch in batches)
        with self._fast(len(clips)):
            for rows, values in arrays(found):
                several = self._mode == "all_frames"
                yield rows, values if several else {name: value[:, None] for name, value in values.items()}

    def _fast(self, clips: int) -> contextlib.AbstractContextManager[bool]:
        """Compiles the blocks for an extraction of many clips, where that is asked for: it takes half a minute.

        All clips of the extraction count, not those of this process: bits do not depend on how many share the work.
        """
        if self._config.train.compiled and clips * self._frames > _MANY * _BATCH:
            return frozen_blocks(self.method, self._config.precision, self.device)
        return contextlib.nullcontext(False)

    def _computed(self, kind: Kind, batch: Batch) -> dict[str, Tensor]:
        compute: Callable[..., dict[str, Tensor]]
        match kind:
            case "tokens":
                compute = self.method.local_tokens
            case "single vectors":
                compute = functools.partial(cast(FamilyMethod, self.method).vectors, joint=False)
            case "vectors":
                compute = _vectors(self.method)
        with torch.inference_mode(), autocast(self._config.precision, self.device):
            return fitting.in_parts(compute, *batch.inputs(self.device))

    @property
    def functions(self) -> tuple[Kind, ...]:
        """What is extracted: vectors of the streams together, and tokens where it has them."""
        return ("vectors", "tokens") if "patch_tokens" in self._entry.card["abilities"] else ("vectors",)

    @property
    def _entry(self) -> registry.Component:
        return registry.find("method", self._config.method_name)

    def heard(self, clips: Clips) -> AudioVisualDataset:
        """Returns what reads clips for it."""
        return AudioVisualDataset(clips, self._config.input, mode=self._mode)

    def answers(self, function: str, batch: Batch, clips: Sequence[str]) -> Arrays:
        """Returns what a function gives; tokens go by the names that encoders' functions have.

        Args:
            function: ``vectors`` or ``tokens``.
            batch: The clips.
            clips: Their ids.

        Raises:
            RunError: It failed, or gave what cannot be used.
        """
        called = f"method {self._config.method_name}: {function}"
        try:
            found = self._computed(cast(Kind, function), batch)
        except RAISED as error:
            raise RunError(f"{called} failed: {told(error, self._entry.path)}.") from error
        shapes = _TOKENS if function == "tokens" else returned.VECTORS
        names = {"visual": "patches", "audio": "audio_tokens"} if function == "tokens" else {}
        return {
            names.get(each, each): returned.checked(value, f"{called}: {each}", clips, shapes)
            for each, value in found.items()
        }

    def classifier(
        self, n_classes: int, *, mode: str, head: str, streams: Streams, n_frames: int, seed: int
    ) -> Classifier:
        """Returns a copy with a new head; see :func:`avbench.methods.classifier.build_classifier`.

        Args:
            n_classes: Logits a clip.
            mode: What it will be trained in.
            head: Which head.
            streams: What the head reads in mode multimodal.
            n_frames: Frames a clip.
            seed: Of the head's first weights.
        """
        kind = cast(Literal["auto", "linear", "attention", "concat"], head)
        return build_classifier(
            self.method, n_classes, mode=mode, head=kind, streams=streams, n_frames=n_frames, seed=seed
        )


def _in_cache(config: RunConfig) -> int:
    """Returns how many frames a CPU passes at once, each with its sound."""
    input, side = config.input, config.model.patch_size
    patches = ((input.segment_length or input.target_length) * input.n_mels + input.image_size**2) // side**2
    return min(_BATCH, max(_FEWEST, _CACHED // (patches * config.model.embed_dim)))


def _vectors(method: Method) -> Callable[..., dict[str, Tensor]]:
    apart = embeds_apart(method)

    def compute(audio: Tensor | None, visual: Tensor | None) -> dict[str, Tensor]:
        found = method.vectors(audio, visual)
        if (found and not apart) or audio is None or visual is None:
            return found
        sounds, pictures = method.embed(audio, visual)
        return {**found, f"{EMBEDDING}audio": sounds, f"{EMBEDDING}visual": pictures}

    return compute

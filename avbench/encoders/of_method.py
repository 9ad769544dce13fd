"""A method as runs judge it: it hears spectrograms and sees normalised frames, which are made of clips for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avbench.config import RunConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed.batch import arrays, moved
from avbench.data.feed.loader import Feed
from avbench.methods.base import Method
from avbench.methods.classifier import Classifier, Streams, build_classifier
from avbench.registry.contract import embeds_apart
from avbench.store.extracted import EMBEDDING, Arrays, Kind
from avbench.training import fitting
from avbench.training.precision import autocast

_BATCH = 64  # frames a forward pass: fills a core's cache at tiny size, fits a GPU at base size


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
        self.method, self._config, self._device = method, config, device
        self.batch_size = max(1, _BATCH // max(1, config.data.n_frames)) if config.input.segment_length else _BATCH

    def computed(
        self, kind: Kind, clips: Clips, order: npt.NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows and arrays of each batch, of all frames where a method looks at windows around them, else of one.

        Args:
            kind: ``vectors`` or ``tokens``.
            clips: The clips.
            order: Which of them, in which order.
            workers: Processes that read them.

        Raises:
            RunError: A clip cannot be read.
        """
        several = self._config.input.segment_length > 0
        mode: Literal["all_frames", "eval"] = "all_frames" if several else "eval"
        feed = Feed(clips, self._config.input, mode=mode, workers=workers, device=self._device)
        compute: Callable[..., dict[str, Tensor]]
        compute = self.method.local_tokens if kind == "tokens" else _vectors(self.method)

        def computed() -> Iterator[tuple[npt.NDArray[np.int64], dict[str, Tensor]]]:
            for batch in moved(feed.batches(order, self.batch_size), self._device):
                with torch.inference_mode(), autocast(self._config.precision, self._device):
                    found = fitting.in_parts(compute, *batch.inputs(self._device))
                yield np.asarray(batch.index, np.int64), found

        for rows, values in arrays(computed()):
            yield rows, values if several else {name: value[:, None] for name, value in values.items()}

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


def _vectors(method: Method) -> Callable[..., dict[str, Tensor]]:
    apart = embeds_apart(method)

    def compute(audio: Tensor | None, visual: Tensor | None) -> dict[str, Tensor]:
        found = method.vectors(audio, visual)
        if (found and not apart) or audio is None or visual is None:
            return found
        sounds, pictures = method.embed(audio, visual)
        return {**found, f"{EMBEDDING}audio": sounds, f"{EMBEDDING}visual": pictures}

    return compute

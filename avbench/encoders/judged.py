"""What runs judge, whoever made it: extraction, fine-tuning and the checker ask the same of a method as of an encoder.

Two things are behind it, as two things differ: spectrograms and normalised frames are made for a method by settings of
the run, while anybody's encoder gets waveforms and pictures; and the weights of a method are files of a known form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from avbench.store.extracted import Arrays, Kind, Vectors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from avbench.data.corpus.clips import Clips
    from avbench.data.feed.loader import Batched
    from avbench.methods.classifier import Classifier, Streams


class Judged(Protocol):
    """An encoder with its weights on a device: one of :class:`~avbench.encoders.of_method.OfMethod`, or anybody's."""

    @property
    def device(self) -> str:
        """Where it computes."""
        ...

    @property
    def batch_size(self) -> int:
        """Clips a forward pass."""
        ...

    @property
    def scores(self) -> Callable[[Vectors, Vectors], Iterator[Vectors]] | None:
        """How similar sounds (n, F, D) and pictures (n, G, D) are, (k, n) each time; None: by their cosine."""
        ...

    def computed(
        self, kind: Kind, clips: Clips, order: npt.NDArray[np.int64], *, workers: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows (k,) and arrays (k, F, ...) of each batch.

        Args:
            kind: ``vectors``, ``single vectors`` (of a method of the package) or ``tokens``.
            clips: The clips.
            order: Which of them, in which order.
            workers: Processes that read them.

        Raises:
            RunError: A clip cannot be read, or the encoder fails.
        """
        ...

    def classifier(
        self, n_classes: int, *, mode: str, head: str, streams: Streams, n_frames: int, seed: int
    ) -> Classifier:
        """Returns the model to fine-tune: the encoder with its weights, and a new head.

        Args:
            n_classes: Logits a clip.
            mode: What it will be trained in.
            head: Which head; ``auto``: the encoder's own choice.
            streams: What the head reads in mode multimodal.
            n_frames: Frames a clip, for heads whose size depends on them.
            seed: Of the head's first weights.

        Raises:
            InputError: It cannot be fine-tuned, or not so.
        """
        ...

    @property
    def functions(self) -> tuple[str, ...]:
        """What the checker calls, one after the other."""
        ...

    def heard(self, clips: Clips) -> Batched[Any]:
        """Returns what reads clips for it."""
        ...

    def answers(self, function: str, batch: Any, clips: Sequence[str]) -> Arrays:
        """Returns what one of :attr:`functions` gives, (B, ...) each.

        Args:
            function: Which.
            batch: Of what :meth:`heard` returned.
            clips: The ids of the batch's.

        Raises:
            RunError: It failed, or gave what cannot be used.
        """
        ...

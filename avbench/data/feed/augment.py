"""What fine-tuning does to its training clips: mixing, SpecAugment, label smoothing (docs/protocol/cavmae.md 2.3).

Every draw is a function of (seed, epoch, clip, how often the clip came before in the epoch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from avbench.config import FinetuneConfig
from avbench.rng import numpy_stream

_BETA = 10.0  # both parameters of the mixing weight's Beta distribution


class Span(NamedTuple):
    """Cells ``start`` to ``end`` - 1 of an axis."""

    start: int
    end: int


class Mix(NamedTuple):
    """A clip's partner: ``weight`` is the share of the clip itself, ``frame`` in [0, 1) says which of the partner's."""

    partner: int
    weight: float
    frame: float


class LabelTable(Protocol):
    """Which classes each clip has; see :class:`avbench.tasks.labels.Labels`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order of their indices."""

    def multi_hot(self, rows: NDArray[Any] | None = None, dtype: Any = ...) -> NDArray[Any]:
        """Returns zeros and ones, (rows, C)."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How clips are changed and labelled.

    Attributes:
        labels: The classes of the clips, in the clips' order.
        smoothing: Label smoothing s: every class gets s / C, a clip's own 1 - s.
        mixup: Probability that a clip is mixed with another.
        freq_mask: Largest mask, mel bins.
        time_mask: Largest mask, spectrogram rows.
    """

    labels: LabelTable
    smoothing: float = 0.0
    mixup: float = 0.0
    freq_mask: int = 0
    time_mask: int = 0

    @classmethod
    def of(cls, config: FinetuneConfig, labels: LabelTable) -> Augment:
        """Returns what a recipe asks for."""
        return cls(
            labels=labels,
            smoothing=config.label_smoothing,
            mixup=config.mixup,
            freq_mask=config.freq_mask,
            time_mask=config.time_mask,
        )

    def mix(self, n: int, seed: int, *counters: int) -> Mix | None:
        """Draws whether a clip is mixed, and with what; the partner is any of all ``n`` clips, itself included.

        Args:
            n: How many clips there are.
            seed: Of the draws.
            *counters: Of the clip and the epoch.
        """
        if self.mixup == 0:
            return None
        stream = numpy_stream(seed, "mixup", *counters)
        if stream.random() >= self.mixup:
            return None
        return Mix(int(stream.integers(n)), float(stream.beta(_BETA, _BETA)), float(stream.random()))

    def masks(self, rows: int, bins: int, seed: int, *counters: int) -> tuple[Span, Span]:
        """Draws the masked mel bins and the masked rows of a spectrogram; empty spans mask nothing.

        Args:
            rows: Rows of the spectrogram.
            bins: Its mel bins.
            seed: Of the draws.
            *counters: Of the clip and the epoch, so that each has draws of its own.
        """
        if self.freq_mask == 0 and self.time_mask == 0:
            return Span(0, 0), Span(0, 0)
        draws = numpy_stream(seed, "specaugment", *counters).random(4)
        return (_span(draws[0], draws[1], bins, self.freq_mask), _span(draws[2], draws[3], rows, self.time_mask))

    def target(self, i: int, mix: Mix | None = None) -> NDArray[np.float32]:
        """Returns the soft target of clip ``i``, float32 (C,): mixed, both clips' shares are added to the smoothing."""
        target = np.full(len(self.labels.classes), self.smoothing / len(self.labels.classes), dtype=np.float32)
        if mix is None:
            target[self._classes(i)] = 1 - self.smoothing
        else:
            target[self._classes(i)] += mix.weight * (1 - self.smoothing)
            target[self._classes(mix.partner)] += (1 - mix.weight) * (1 - self.smoothing)
        return target

    def _classes(self, i: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.labels.multi_hot(np.array([i]), np.bool_)[0]
        return found


def _span(width: float, start: float, size: int, largest: int) -> Span:
    """Returns a mask of the reference's form: both draws are uniform in [0, 1), and both ends are cut to integers."""
    wide = min(width * largest, size)
    first = int(start * (size - wide))
    return Span(first, first + int(wide))


def mix_waveforms(one: NDArray[np.float32], other: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Returns two sounds of one sample rate mixed, as long as the first.

    The mean of each is removed; the other is then cut, or padded with zeros.

    Args:
        one: (samples,).
        other: (samples,), of any length.
        weight: Share of the first.
    """
    mixed: NDArray[np.float32] = (one - one.mean()) * np.float32(weight)
    n = min(len(one), len(other))
    if n:
        mixed[:n] += (other - other.mean())[:n] * np.float32(1 - weight)
    return mixed

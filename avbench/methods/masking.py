"""Which tokens are kept and which are removed before the encoder (paper 2.1.3, Figure 2; docs/protocol/cavmae.md 1.9).

A mask is a function of uniform draws that the caller hands in, so that a recorded mask can be made again and all
devices agree. Structured masks remove whole rows (mel bins) and columns (time) of the grid. They come in two forms:

* ``exact`` removes whole lines and nothing else; the share removed is the nearest to the ratio that lines allow.
* ``reference`` counts lines as the authors' code does and then removes exactly ``N - int(N * (1 - ratio))`` tokens:
  single tokens fill up what the lines leave, and where the lines hold too many, some of their tokens are kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from avbench.errors import InputError
from avbench.methods.positions import Grid

Strategy = Literal["uniform", "time", "frequency", "time_frequency"]
Form = Literal["exact", "reference"]

# The authors' share of each axis in a time-frequency mask.
_REFERENCE_SHARE = 0.7


class Mask(NamedTuple):
    """One batch of masks over N tokens, K of them kept."""

    kept: Tensor  # (B, K) int64: positions of the kept tokens, in the order they were drawn
    removed: Tensor  # (B, N) float32: 1 removed, 0 kept

    def keep(self, tokens: Tensor) -> Tensor:
        """Returns the kept tokens: (B, N, D) -> (B, K, D)."""
        return tokens.flatten(0, 1).index_select(0, self._rows).view(*self.kept.shape, -1)

    def restore(self, tokens: Tensor, filler: Tensor) -> Tensor:
        """Returns the kept tokens at their places and ``filler`` elsewhere: (B, K, D), (1, 1, D) -> (B, N, D)."""
        batch, total = self.removed.shape
        everywhere = filler.to(tokens.dtype).expand(batch * total, 1, -1).flatten(0, 1)
        return everywhere.index_copy(0, self._rows, tokens.flatten(0, 1)).view(batch, total, -1)

    @property
    def _rows(self) -> Tensor:
        """Where the kept tokens are among those of all clips, (B * K,).

        Whole rows are taken, not single numbers: two to three times as fast on a CPU, and on a GPU, whose reproducible
        kernels sort what they are to write, a row is one thing to sort.
        """
        batch, total = self.removed.shape
        return (self.kept + torch.arange(batch, device=self.kept.device)[:, None] * total).flatten()


@dataclass(frozen=True)
class Draws:
    """Uniform draws in [0, 1) for one batch of masks; lines are drawn for structured masks only."""

    tokens: Tensor  # (B, N)
    rows: Tensor | None = None  # (B, rows)
    columns: Tensor | None = None  # (B, columns)
    ratio: float | None = None  # of this batch, where the plan draws it

    def to(self, device: torch.device | str) -> Draws:
        """Returns the draws on another device; a GPU fetches them by itself, whatever it is at."""
        if torch.device(device).type != "cuda" or self.tokens.is_cuda:
            return self._each(lambda draw: draw.to(device))
        return self._each(lambda draw: draw.pin_memory().to(device, non_blocking=True))

    def part(self, clips: slice) -> Draws:
        """Returns the draws of some clips of the batch."""
        return self._each(lambda draw: draw[clips])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draws:
        rows, columns = (None if draw is None else change(draw) for draw in (self.rows, self.columns))
        return Draws(change(self.tokens), rows, columns, self.ratio)


@dataclass(frozen=True)
class MaskNoise:
    """The uniform draws behind one batch of masks; None where a method has no such mask."""

    audio: Draws | None = None
    visual: Draws | None = None
    joint: Draws | None = None  # of all tokens together, audio first

    def to(self, device: torch.device | str) -> MaskNoise:
        """Returns the draws on another device."""
        return self._each(lambda draws: draws.to(device))

    def part(self, clips: slice) -> MaskNoise:
        """Returns the draws of some clips of the batch."""
        return self._each(lambda draws: draws.part(clips))

    def _each(self, change: Callable[[Draws], Draws]) -> MaskNoise:
        return MaskNoise(*(None if draws is None else change(draws) for draws in (self.audio, self.visual, self.joint)))


@dataclass(frozen=True)
class MaskPlan:
    """How the tokens of one modality are masked.

    Args:
        grid: The grid of tokens.
        ratio: Share to remove, in [0, 1).
        strategy: ``uniform`` draws single tokens; ``time`` columns, ``frequency`` rows, ``time_frequency`` both.
        form: See the module; of no effect for ``uniform``.
        ratio_range: Draw a ratio from it, uniformly, for each batch, in place of ``ratio``.

    Raises:
        InputError: Nothing would be kept.
    """

    grid: Grid
    ratio: float
    strategy: Strategy = "uniform"
    form: Form = "exact"
    ratio_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.ratio_range is not None:
            if self.ratio_range[0] > self.ratio_range[1]:
                raise InputError(f"method.masking_ratio_range: found {self.ratio_range}, valid: the smaller one first.")
            for ratio in self.ratio_range:
                self._with(ratio)
            return
        if self.n_kept < 1:
            raise InputError(
                f"method.masking_ratio: found {self.ratio}, which keeps none of {self.grid.size} tokens with strategy"
                f" '{self.strategy}'; valid: a smaller ratio."
            )

    @functools.cached_property
    def lines(self) -> tuple[int, int]:
        """The numbers of whole rows and whole columns to remove."""
        rows, columns = self.grid
        if self.strategy == "uniform":
            return 0, 0
        if self.form == "reference":
            share = _REFERENCE_SHARE if self.strategy == "time_frequency" else 1.0
            row, column = int(rows * self.ratio * share), int(columns * self.ratio * share)
        else:
            # Each axis gives the same share; the finer one, time, then makes up for the rounding of the other.
            row = round(rows * (1 - math.sqrt(1 - self.ratio)))
            column = round(columns * (1 - (1 - self.ratio) * rows / max(rows - row, 1)))
            if self.strategy != "time_frequency":
                row, column = round(rows * self.ratio), round(columns * self.ratio)
        return (row if self.strategy != "time" else 0), (max(column, 0) if self.strategy != "frequency" else 0)

    @functools.cached_property
    def n_kept(self) -> int:
        """Tokens kept of every clip."""
        if self.strategy == "uniform" or self.form == "reference":
            return int(self.grid.size * (1 - self.ratio))
        row, column = self.lines
        return (self.grid.rows - row) * (self.grid.columns - column)

    def check_removes(self, fix: str) -> None:
        """Checks that there is something to reconstruct.

        Raises:
            InputError: No token is removed.
        """
        if self.ratio_range is not None:
            self._with(self.ratio_range[0]).check_removes(fix)
        elif self.n_kept == self.grid.size:
            raise InputError(
                f"method.masking_ratio: found {self.ratio}, which removes none of {self.grid.size} tokens; valid:"
                f" {fix}."
            )

    def draw(self, batch: int, generator: torch.Generator) -> Draws:
        """Draws what :meth:`mask` needs for ``batch`` clips, on the generator's device."""

        def uniform(n: int) -> Tensor:
            return torch.rand(batch, n, generator=generator, device=generator.device)

        tokens = uniform(self.grid.size)
        rows = columns = ratio = None
        if self.strategy != "uniform":
            rows, columns = uniform(self.grid.rows), uniform(self.grid.columns)
        if self.ratio_range is not None:
            low, high = self.ratio_range
            ratio = low + (high - low) * float(uniform(1)[0])
        return Draws(tokens, rows, columns, ratio)

    def _with(self, ratio: float) -> MaskPlan:
        """Returns the plan at one ratio."""
        return replace(self, ratio=ratio, ratio_range=None)

    def mask(self, draws: Draws) -> Mask:
        """Returns the masks that the draws make; the tokens with the smallest draws are kept.

        Raises:
            InputError: The draws do not fit the grid.
        """
        if self.ratio_range is not None and draws.ratio is not None:
            return self._with(draws.ratio).mask(draws)
        total = self.grid.size
        if draws.tokens.ndim != 2 or draws.tokens.shape[1] != total:
            raise InputError(f"mask draws: found shape {tuple(draws.tokens.shape)}, valid: (B, {total}).")
        # Draws lie below 1, so one more puts every token of a chosen line behind all others. Among them the own draw
        # decides which are kept where there are too many; the authors' constant 1.1 leaves that to the sort.
        order = (draws.tokens + self._chosen(draws)).argsort(dim=1, stable=True)  # (B, N)
        kept = order[:, : self.n_kept]
        removed = torch.ones_like(draws.tokens).scatter(1, kept, 0.0)
        return Mask(kept, removed)

    def _chosen(self, draws: Draws) -> Tensor | float:
        """Returns 1 for the tokens of the chosen rows and columns, shape (B, N)."""
        if self.strategy == "uniform":
            return 0.0
        if draws.rows is None or draws.columns is None:
            raise InputError(f"mask draws: found none for lines, which strategy '{self.strategy}' needs.")
        row, column = self.lines
        rows, columns = _first(draws.rows, row), _first(draws.columns, column)
        return (rows[:, :, None] | columns[:, None, :]).flatten(1).float()


def _first(draws: Tensor, n: int) -> Tensor:
    """Returns True at the n smallest draws of each row: a uniform choice without replacement, (B, L) -> (B, L)."""
    return torch.zeros_like(draws, dtype=torch.bool).scatter(1, draws.argsort(dim=1, stable=True)[:, :n], True)


class PairMasks(NamedTuple):
    """The masks of both modalities, each over its own tokens."""

    audio: Mask
    visual: Mask


@dataclass(frozen=True)
class PairPlan:
    """How the tokens of both modalities are masked, apart from each other (paper 2.3)."""

    audio: MaskPlan
    visual: MaskPlan

    def drawn_from(self, ratios: tuple[float, float] | None) -> PairPlan:
        """Returns the plan that draws each ratio from a range for every batch; None: this plan."""
        if ratios is None:
            return self
        return PairPlan(replace(self.audio, ratio_range=ratios), replace(self.visual, ratio_range=ratios))

    def check_removes(self, fix: str) -> None:
        """Checks that there is something to reconstruct of each modality.

        Raises:
            InputError: No token is removed.
        """
        self.audio.check_removes(fix)
        self.visual.check_removes(fix)

    def draw(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws what :meth:`masks` needs for ``batch`` clips: audio first, then visual."""
        return MaskNoise(audio=self.audio.draw(batch, generator), visual=self.visual.draw(batch, generator))

    def masks(self, noise: MaskNoise, device: torch.device) -> PairMasks:
        """Returns the masks that the noise makes.

        Raises:
            InputError: Noise without a modality.
        """
        if noise.audio is None or noise.visual is None:
            raise InputError("mask noise: found one modality, valid: audio and visual; draw it with draw_noise.")
        return PairMasks(self.audio.mask(noise.audio.to(device)), self.visual.mask(noise.visual.to(device)))

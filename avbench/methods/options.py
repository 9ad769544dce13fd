"""Options that several methods share: how tokens are masked, and what the losses compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from avbench.methods.masking import MaskPlan, PairPlan
from avbench.methods.positions import Grid, Modality
from avbench.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class MaskingConfig(Settings):
    """How many tokens are masked (paper 2.1.3)."""

    masking_ratio: float = setting(0.75, "share of tokens removed", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class SoundMaskingConfig(MaskingConfig):
    """How a spectrogram is masked (paper Table 2d)."""

    masking_strategy: Literal["uniform", "time", "frequency", "time_frequency"] = setting(
        "uniform", "what is removed of the spectrogram; frames are always uniform"
    )
    masking_form: Literal["exact", "reference"] = setting(
        "exact", "exact: whole lines only; reference: as the authors' code counts"
    )


@dataclass(frozen=True, kw_only=True)
class PairConfig(SoundMaskingConfig):
    """How the two modalities are masked and normalised apart (paper 2.3)."""

    masking_ratio_audio: float | None = setting(None, "the same for audio alone; null: masking_ratio", ge=0, lt=1)
    masking_ratio_visual: float | None = setting(None, "the same for frames alone; null: masking_ratio", ge=0, lt=1)
    modality_norms: bool = setting(True, "separate LayerNorms for the single-modality streams of the joint encoder")

    def plan(self, grids: Mapping[Modality, Grid]) -> PairPlan:
        """Returns how the tokens of two grids, ``audio`` and ``visual``, are masked."""
        audio, visual = (
            self.masking_ratio if ratio is None else ratio
            for ratio in (self.masking_ratio_audio, self.masking_ratio_visual)
        )
        return PairPlan(
            MaskPlan(grids["audio"], audio, self.masking_strategy, self.masking_form),
            MaskPlan(grids["visual"], visual),
        )


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(Settings):
    """Masked reconstruction (paper 2.2)."""

    norm_pix_loss: bool = setting(True, "reconstruct patches of zero mean and unit variance")


@dataclass(frozen=True, kw_only=True)
class ContrastConfig(Settings):
    """Contrast between the modalities (paper 2.3)."""

    temperature: float = setting(0.05, "divisor of the cosine similarities", gt=0)
    contrast: Literal["one_way", "two_way"] = setting(
        "one_way", "one_way: visual to audio (paper); two_way: both directions"
    )
    negatives: Literal["local", "gathered"] = setting(
        "local", "other clips of a process's own batch (paper), or of all processes' batches"
    )

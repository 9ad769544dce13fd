"""The options of the methods: how tokens are masked, what the losses compare and weigh.

They stand apart from the models, so that a run's id is known, and its record found, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from avbench.errors import InputError
from avbench.settings import Settings, setting

if TYPE_CHECKING:
    from avbench.methods.masking import PairPlan
    from avbench.methods.positions import Grid, Modality
    from avbench.methods.sync_encoder import SyncTokens


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
        from avbench.methods.masking import MaskPlan, PairPlan

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


@dataclass(frozen=True, kw_only=True)
class AudioMaeConfig(SoundMaskingConfig, ReconstructionConfig):
    """Options of Audio-MAE; defaults are the paper's."""


@dataclass(frozen=True, kw_only=True)
class VisualMaeConfig(MaskingConfig, ReconstructionConfig):
    """Options of Visual-MAE; defaults are the paper's."""


@dataclass(frozen=True, kw_only=True)
class VanillaAvMaeConfig(MaskingConfig, ReconstructionConfig):
    """Options of Vanilla AV-MAE; defaults are the paper's."""


@dataclass(frozen=True, kw_only=True)
class AvMaeConfig(PairConfig, ReconstructionConfig):
    """Options of AV-MAE; defaults are the paper's."""


@dataclass(frozen=True, kw_only=True)
class CavConfig(PairConfig, ContrastConfig):
    """Options of CAV; defaults are the paper's."""

    lambda_c: float = setting(
        0.01, "weight of the loss: Adam's epsilon and decay see the scale (paper Table 3: 0.1 and 0.01)", gt=0
    )


@dataclass(frozen=True, kw_only=True)
class CavMaeConfig(PairConfig, ReconstructionConfig, ContrastConfig):
    """Options of CAV-MAE; defaults are the paper's."""

    lambda_c: float = setting(0.01, "weight of the contrastive loss", ge=0)
    lambda_r: float = setting(1.0, "weight of the reconstruction loss", ge=0)

    def check(self) -> None:
        """Checks that there is something to learn.

        Raises:
            InputError: Both losses have weight 0.
        """
        if self.lambda_c == 0 and self.lambda_r == 0:
            raise InputError("method.lambda_c and method.lambda_r: found 0 and 0, valid: at least one above 0.")


@dataclass(frozen=True, kw_only=True)
class CavMaeSyncConfig(CavMaeConfig):
    """Options of CAV-MAE Sync; defaults are the released model's."""

    global_token: bool = setting(True, "a token of each modality for the contrast; false: the mean of the patches")
    global_local: bool = setting(False, "average the contrasts of global tokens and of mean patches")
    registers: int = setting(8, "register tokens of each modality", ge=0)
    keep_registers: bool = setting(False, "registers pass the joint encoder, too")
    head_depth: int = setting(
        0, "blocks of each modality between joint encoder and contrast (the authors' heads: 2)", ge=0
    )
    masking_ratio_range: tuple[float, float] | None = setting(
        None, "draw both ratios anew for each batch (multi-ratio: 0.6 to 0.9); null: fixed", ge=0, lt=1
    )

    def check(self) -> None:
        """Checks the losses.

        Raises:
            InputError: Both have weight 0, or the contrast asks for a global token that is not there.
        """
        super().check()
        if self.global_local and not self.global_token:
            raise InputError("method.global_local: found true, valid: false, where method.global_token is false.")

    def extra(self) -> SyncTokens:
        """Returns which tokens a modality has beside its patches."""
        from avbench.methods.sync_encoder import SyncTokens

        return SyncTokens(
            global_token=self.global_token,
            registers=self.registers,
            keep_registers=self.keep_registers,
            head_depth=self.head_depth,
        )

"""CAV-MAE Sync: sound as windows aligned with frames, global and register tokens (facts/cavmae_sync.md 1-2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from avbench.errors import InputError
from avbench.methods.base import Card
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.masking import MaskPlan
from avbench.methods.pair import Latents
from avbench.methods.sync_encoder import SyncEncoder
from avbench.methods.vit import encoder_blocks
from avbench.settings import setting

CARD = Card(
    summary="CAV-MAE Sync: CAV-MAE on audio windows around frames; contrast by global tokens, beside registers",
    modalities=("audio", "visual"),
    objectives=("reconstruction", "contrast"),
    tasks=("retrieval", "linear_probe", "classification", "localization", "shuffled_pairs", "reconstruction"),
    parameters=190_660_864,
    frames=(16, "ends"),
)


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


class CavMaeSync(SyncEncoder, CavMae):
    """CAV-MAE with more tokens, none of them ever masked; see :class:`~avbench.methods.sync_encoder.SyncEncoder`.

    Only patches are reconstructed; the global tokens meet in the contrast, and stand for their modality in retrieval.
    """

    name: ClassVar[str] = "cavmae_sync"
    config: CavMaeSyncConfig

    def build(self) -> None:
        """Builds global and register tokens, decoder and heads, under the published keys (also the misspelt ones)."""
        config, model = self.config, self.model_config
        if config.global_local and not config.global_token:
            raise InputError("method.global_local: found true, valid: false, where method.global_token is false.")
        self.add_registers()
        super().build()
        self.add_global_tokens()
        if config.head_depth:
            for stream in ("audio", "visual"):
                head = encoder_blocks(model, config.head_depth, modality_norms=self.modality_norms)
                self.add_module(f"constrative_head_{stream}", head)

    def mask_plans(self) -> tuple[MaskPlan, MaskPlan]:
        """Returns how audio and visual tokens are masked; the two ratios are drawn apart."""
        audio, visual = super().mask_plans()
        drawn = self.config.masking_ratio_range
        return replace(audio, ratio_range=drawn), replace(visual, ratio_range=drawn)

    def contrasted(self, latents: Latents) -> list[tuple[Tensor, Tensor]]:
        """Returns what is contrasted: pooled streams and, with ``global_local``, also their mean patches."""
        pairs = super().contrasted(latents)
        if self.config.global_local:
            pairs.append((self.patches(latents.audio).mean(dim=1), self.patches(latents.visual).mean(dim=1)))
        return pairs


CONFIG = CavMaeSyncConfig
METHOD = CavMaeSync

"""Audio-MAE: Vanilla AV-MAE with sound alone (paper 2.1.4 and 3, "Our Single-Modal MAE" of Table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from avbench.methods.base import Card, ReconstructionConfig, SoundMaskingConfig
from avbench.methods.masking import MaskPlan
from avbench.methods.vanilla_avmae import VanillaAvMae, VanillaAvMaeConfig

CARD = Card(
    summary="Audio-MAE: masked reconstruction of the spectrogram, with Vanilla AV-MAE's encoder and decoder",
    modalities=("audio",),
    objectives=("reconstruction",),
    tasks=("linear_probe", "classification", "reconstruction"),
    parameters=111_655_680,
)


@dataclass(frozen=True, kw_only=True)
class AudioMaeConfig(VanillaAvMaeConfig, SoundMaskingConfig, ReconstructionConfig):
    """Options of Audio-MAE; defaults are the paper's."""


class AudioMae(VanillaAvMae):
    """Encoder and decoder of audio tokens; frames are not read."""

    name: ClassVar[str] = "audiomae"
    modalities: ClassVar[tuple[str, ...]] = ("audio",)
    config: AudioMaeConfig

    def mask_plan(self) -> MaskPlan:
        """Returns how the audio tokens are masked."""
        config = self.config
        return MaskPlan(self.grids["a"], config.masking_ratio, config.masking_strategy, config.masking_form)


CONFIG = AudioMaeConfig
METHOD = AudioMae

"""Visual-MAE: Vanilla AV-MAE with frames alone (paper 2.1.4 and 3, "Our Single-Modal MAE" of Table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from avbench.methods.base import Card
from avbench.methods.vanilla_avmae import VanillaAvMae, VanillaAvMaeConfig

CARD = Card(
    summary="Visual-MAE: masked reconstruction of a frame, with Vanilla AV-MAE's encoder and decoder",
    modalities=("visual",),
    objectives=("reconstruction",),
    tasks=("linear_probe", "classification", "reconstruction"),
    parameters=111_907_072,
)


@dataclass(frozen=True, kw_only=True)
class VisualMaeConfig(VanillaAvMaeConfig):
    """Options of Visual-MAE; defaults are the paper's."""


class VisualMae(VanillaAvMae):
    """Encoder and decoder of visual tokens; the sound is not read."""

    name: ClassVar[str] = "visualmae"
    modalities: ClassVar[tuple[str, ...]] = ("visual",)


CONFIG = VisualMaeConfig
METHOD = VisualMae

"""The streams of masked clips, which a method's forward makes and does not keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from avbench.methods.masking import MaskNoise, PairMasks


@dataclass(frozen=True)
class Latents:
    """Tokens after the joint encoder, (B, K, D), and the masks behind them."""

    joint: Tensor
    audio: Tensor
    visual: Tensor
    masks: PairMasks


def latents(method: Any, audio: Tensor, visual: Tensor, noise: MaskNoise) -> Latents:
    """Returns the three streams of a method of both modalities."""
    encoder, masks = method.encoder, method.plan.masks(noise, audio.device)
    sound = encoder.encode("audio", masks.audio.keep(encoder.audio.tokens(audio)))
    frame = encoder.encode("visual", masks.visual.keep(encoder.visual.tokens(visual)))
    return Latents(
        encoder.joint_stream(sound, frame), encoder.stream("audio", sound), encoder.stream("visual", frame), masks
    )

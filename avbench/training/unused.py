"""Which parameters a method's loss never reaches, so that several processes need not look for them in each step.

Published blocks hold LayerNorms of streams that they never see (docs/protocol/cavmae.md 1.3); they get no gradient.
"""

from __future__ import annotations

import torch
from torch import nn

from avbench.methods import objectives
from avbench.methods.family import FamilyMethod
from avbench.methods.positions import audio_rows
from avbench.methods.vit import uninitialised
from avbench.rng import torch_stream

_CLIPS = 2  # the fewest that have negatives


def without_gradient(model: nn.Module) -> list[str] | None:
    """Returns the names of the trained parameters that get no gradient in any step; None where that is not known.

    The methods of this package run the same modules in every step, so a step of a twin without values (on the meta
    device, which computes shapes only) tells. What others' methods run may depend on the clips.

    Args:
        model: A method.
    """
    if not isinstance(model, FamilyMethod) or not type(model).__module__.startswith("avbench.methods."):
        return None
    with uninitialised():
        twin = type(model)(model.config, model.model_config, model.input_config)
    inputs = model.input_config
    audio = torch.empty(_CLIPS, audio_rows(inputs), inputs.n_mels, device="meta")
    visual = torch.empty(_CLIPS, len(inputs.image_mean), inputs.image_size, inputs.image_size, device="meta")
    noise = twin.draw_noise(_CLIPS, torch_stream(0, "unused")).to("meta")
    with objectives.alone():
        twin(audio, visual, noise).loss.backward()
    return [name for name, parameter in twin.named_parameters() if parameter.requires_grad and parameter.grad is None]

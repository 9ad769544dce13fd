"""Weights into files: ours, and with the keys of the published checkpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from avbench.files import atomic_path, canonical_json
from avbench.methods.base import Method
from avbench.settings import to_dict
from avbench.training.weights_file import (
    METADATA_KEY,
    PREFIX,
)

if TYPE_CHECKING:
    pass


def weights_metadata(model: nn.Module) -> dict[str, Any]:
    """Returns what a weights file says of its model: method name and the settings that build it again."""
    if not isinstance(model, Method):
        return {"class": type(model).__name__}
    return {
        "method": model.name,
        "config": to_dict(model.config),
        "model": to_dict(model.model_config),
        "input": to_dict(model.input_config),
    }


def save_weights(
    path: Path,
    model: nn.Module,
    *,
    weights: Mapping[str, Tensor] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model's weights as safetensors, atomically, with the settings that build it again.

    Args:
        path: Ends in ``.safetensors``.
        model: The model.
        weights: Its weights by key, where it holds only a part of them.
        extra: More JSON values for the file's metadata, such as the step.
    """
    from safetensors.torch import save_file

    whole = model.state_dict() if weights is None else weights
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in whole.items()}
    metadata = {METADATA_KEY: canonical_json({**weights_metadata(model), **(extra or {})})}
    with atomic_path(path, sum(tensor.nbytes for tensor in state.values())) as temporary:
        save_file(state, temporary, metadata=metadata)


def export_published(path: Path, weights: nn.Module | Mapping[str, Tensor]) -> None:
    """Writes weights as the authors do: a bare OrderedDict whose keys begin with ``module.``, bit for bit.

    Args:
        path: Ends in ``.pth``.
        weights: A model, or keys and tensors, which keep their order and type.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    published = OrderedDict((PREFIX + key.removeprefix(PREFIX), t.detach().cpu()) for key, t in state.items())
    size = sum(tensor.nbytes for tensor in published.values())
    with atomic_path(path, size) as temporary, temporary.open("wb") as handle:  # a handle says what the disk said
        torch.save(published, handle)

"""The optimiser, and its state under the names of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from avbench.config import TrainConfig
from avbench.errors import InputError

# Devices with one kernel for the whole update; it saves most of the time that Adam takes on a CPU.
_FUSED = ("cpu", "cuda")


def build_optimizer(model: nn.Module, config: TrainConfig, device: str) -> torch.optim.Optimizer:
    """Returns Adam, with weight decay in the gradient (paper; facts/cavmae.md 3.1), or AdamW.

    Args:
        model: Its parameters with ``requires_grad`` are trained; fixed position tables are not.
        config: Which, and its constants.
        device: ``cpu`` or ``cuda``; decides about the fused kernel.

    Raises:
        InputError: The model has nothing to train.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise InputError(f"{type(model).__name__}: found no parameter with requires_grad, valid: at least one.")
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    fused = device in _FUSED and all(parameter.is_floating_point() for parameter in trained)
    return kind(trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=fused)


def _trained_names(model: nn.Module) -> list[str]:
    """Returns the names of the trained parameters in the optimiser's order."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimiser's averages on the CPU, keyed ``PARAMETER/NAME``; parameters it never moved have none."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for number, name in enumerate(_trained_names(model))
        for key, value in state.get(number, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives the optimiser the averages that :func:`optimizer_tensors` returned.

    Raises:
        KeyError: A name that is no trained parameter's.
    """
    numbers = {name: number for number, name in enumerate(_trained_names(model))}
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        name, _, key = path.rpartition("/")
        state.setdefault(numbers[name], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

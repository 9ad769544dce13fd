"""The optimiser, and its state under the names of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avbench.config import TrainConfig
from avbench.errors import InputError

# Devices with one kernel for the whole update; it saves most of the time that Adam takes on a CPU.
_FUSED = ("cpu", "cuda")
RATIO = "lr_ratio"  # a group's learning rate over the base rate


def build_optimizer(
    model: nn.Module, config: TrainConfig, device: str, *, ratios: Mapping[tuple[str, ...], float] | None = None
) -> torch.optim.Optimizer:
    """Returns Adam, with weight decay in the gradient (paper; docs/protocol/cavmae.md 3.1), or AdamW.

    Args:
        model: Its parameters with ``requires_grad`` are trained; fixed position tables are not.
        config: Which, and its constants.
        device: ``cpu`` or ``cuda``; decides about the fused kernel.
        ratios: Learning rates over the base rate, by how the names of the parameters begin; each makes a group of its
            own, under the key ``lr_ratio``, after that of all others.

    Raises:
        InputError: The model has nothing to train.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = _groups(model, {**(ratios or {}), ("",): 1.0})
    if not trained:
        raise InputError(f"{type(model).__name__}: found no parameter with requires_grad, valid: at least one.")
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    fused = device in _FUSED and all(parameter.is_floating_point() for parameter in trained)
    return kind(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=fused)


def _groups(model: nn.Module, ratios: Mapping[tuple[str, ...], float]) -> list[dict[str, Any]]:
    """Returns the trained parameters in groups: each belongs to the first whose beginnings fit; the last fits all."""
    groups: dict[tuple[str, ...], list[nn.Parameter]] = {beginnings: [] for beginnings in ratios}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[next(beginnings for beginnings in ratios if name.startswith(beginnings))].append(parameter)
    return [
        {"params": parameters, RATIO: ratios[beginnings]}
        for beginnings, parameters in reversed(groups.items())
        if parameters
    ]


def _trained_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Returns the names of the trained parameters in the optimiser's order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimiser's averages, keyed ``PARAMETER/NAME``; parameters it never moved have none."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}/{key}": value.detach()
        for number, name in enumerate(_trained_names(model, optimizer))
        for key, value in state.get(number, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives the optimiser the averages that :func:`optimizer_tensors` returned.

    Args:
        model: Whose parameters it moves.
        optimizer: A new one.
        tensors: Keyed ``PARAMETER/NAME``.

    Raises:
        KeyError: A name that is no trained parameter's.
    """
    numbers = {name: number for number, name in enumerate(_trained_names(model, optimizer))}
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        name, _, key = path.rpartition("/")
        state.setdefault(numbers[name], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

"""A model whose parameters, gradients and optimiser averages are divided among processes (FSDP2).

The one place that knows how: each parameter is a DTensor of which a process holds its rows; it is whole only while the
transformer block that it is part of computes. Others ask :class:`avbench.training.group.ProcessGroup`.

torch's own gathering of optimiser states (``torch.distributed.checkpoint.state_dict``) is not used: it steps an
optimiser that has no averages to make some, and so gives them to parameters that never have a gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from avbench.methods.objectives import PretrainOutput
from avbench.methods.vit import Block


def shard(model: nn.Module, device: str) -> nn.Module:
    """Divides a model among all processes, in place: every transformer block, and then what is left of the whole.

    Args:
        model: The same in every process.
        device: ``cpu`` or ``cuda``, where it goes.

    Returns:
        The model; the names of its parameters are what they were.
    """
    _register_output()
    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    for module in [*(module for module in model.modules() if isinstance(module, Block)), model]:
        # Also the whole is divided again after its forward pass: one without a backward pass would leave it whole.
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
        if isinstance(module, FSDPModule) and device == "cpu":
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no mean
    return model


@functools.cache
def _register_output() -> None:
    # FSDP makes the whole's own parameters whole for the backward pass when a gradient reaches what its forward
    # returned; it finds the tensors in a dataclass only where torch was told of it.
    torch.export.register_dataclass(PretrainOutput)


def local(tensor: Tensor) -> Tensor:
    """Returns this process's part of a tensor; of one that is not divided, all."""
    if isinstance(tensor, DTensor):
        part: Tensor = tensor.to_local()
        return part
    return tensor


def gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Returns tensors whole and on the CPU, one after the other; all processes must ask, with the same names.

    Args:
        tensors: Divided or not.
        keep: Whether this process wants them; the others get none, and need no memory for them.
    """
    found = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if keep:
            found[name] = whole.detach().cpu()
    return found


def divided(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Returns this process's parts of whole tensors that every process has; the inverse of :func:`gathered`.

    Args:
        tensors: Whole, keyed ``PARAMETER`` or ``PARAMETER/NAME``. Scalars and what is no parameter's stay.
        model: As :func:`shard` left it; a tensor is divided as its parameter is.
    """
    own = dict(model.named_parameters())
    found = {}
    for path, tensor in tensors.items():
        like = own.get(path.partition("/")[0])
        if isinstance(like, DTensor) and tensor.ndim:
            tensor = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
        found[path] = tensor
    return found

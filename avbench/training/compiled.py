"""Transformer blocks compiled by torch; where that cannot be, they run as they are, and it is said why."""

from __future__ import annotations

import logging

from torch import nn

from avbench.config import Precision
from avbench.methods.vit import Block
from avbench.training.precision import autocast

log = logging.getLogger("avbench")
_TOKENS = (2, 16)  # clips and tokens of the trial
_KINDS = 64  # of inputs to a block: streams, lengths of training and of validation; torch gives up after eight


def compile_blocks(model: nn.Module, precision: Precision, device: str) -> bool:
    """Compiles the blocks of a model in place; its parameters keep their names.

    Shapes are those of each step, so that each kind of input is compiled once, in the first step. Before that the first
    block is tried with its backward pass: a compiler may lack, or not know the GPU.

    Args:
        model: On the device.
        precision: Arithmetic of the forward pass.
        device: ``cpu`` or ``cuda``.

    Returns:
        Whether they are compiled.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    if not blocks:
        log.warning("train.compiled: %s has no transformer block of this package, and stays as it is", _name(model))
        return False
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(_KINDS, torch._dynamo.config.recompile_limit)
    for block in blocks:
        block.compile(dynamic=False)
    first = blocks[0]
    width = first.attn.qkv.in_features
    gradients = [parameter.grad for parameter in first.parameters()]
    try:
        tokens = torch.zeros(*_TOKENS, width, device=device, requires_grad=True)
        with autocast(precision, device):
            found = first(tokens)
        found.float().sum().backward()
    except Exception as error:  # whatever a compiler raises: the blocks can do without
        for block in blocks:
            block._compiled_call_impl = None
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        log.warning("train.compiled: the blocks cannot be compiled here and run as they are (%s)", reason)
        return False
    finally:
        for parameter, gradient in zip(first.parameters(), gradients, strict=True):
            parameter.grad = gradient
    return True


def _name(model: nn.Module) -> str:
    return str(getattr(model, "name", type(model).__name__))

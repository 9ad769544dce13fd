"""Transformer blocks compiled by torch; where that cannot be, they run as they are, and it is said why."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from avbench.config import Precision
from avbench.methods.vit import Block
from avbench.training.precision import autocast

log = logging.getLogger("avbench")
_HEAD = re.compile(r"backend='\w+' raised:$")  # the first line of a compiler's error; the next one says which
_TOKENS = (2, 16)  # clips and tokens of the trial
_KINDS = 64  # of inputs to a block: streams, lengths of training and of validation; torch gives up after eight


def compile_blocks(model: nn.Module, precision: Precision, device: str) -> bool:
    """Compiles the blocks of a model in place, for training; its parameters keep their names.

    Shapes are those of each step, so that each kind of input is compiled once, in the first step. Before that the first
    block is tried with its backward pass: a compiler may lack, or not know the GPU.

    Args:
        model: On the device.
        precision: Arithmetic of the forward pass.
        device: ``cpu`` or ``cuda``.

    Returns:
        Whether they are compiled.
    """
    blocks = _blocks(model)
    if not blocks:
        return False
    _allow(_KINDS)
    for block in blocks:
        block.compile(dynamic=False)
    first = blocks[0]
    gradients = [parameter.grad for parameter in first.parameters()]
    try:
        torch.autograd.backward(_passed(first, precision, device).sum())
    except Exception as error:  # whatever a compiler raises: the blocks can do without
        _undo(blocks, error)
        return False
    finally:
        for parameter, gradient in zip(first.parameters(), gradients, strict=True):
            parameter.grad = gradient
    return True


@contextlib.contextmanager
def frozen_blocks(model: nn.Module, precision: Precision, device: str) -> Iterator[bool]:
    """Compiles the blocks of a model for a while, with their weights as constants, which must not change meanwhile.

    A CPU's products then read weights that are cast and laid out once. Each block is compiled once, for any number of
    clips and tokens: Sync passes each sound once, so that their number varies. Nothing can be trained.

    Args:
        model: On the device, in evaluation mode.
        precision: Arithmetic of the forward pass.
        device: ``cpu`` or ``cuda``.

    Yields:
        Whether they are compiled.
    """
    blocks = _blocks(model)
    _allow(_KINDS * len(blocks))  # each block's constants are a kind
    for block in blocks:
        block.compile(dynamic=True, options={"freezing": True})
    try:
        if blocks:
            with torch.inference_mode():
                _passed(blocks[0], precision, device)
    except Exception as error:  # as above
        _undo(blocks, error)
        blocks = []
    try:
        yield bool(blocks)
    finally:
        _undo(blocks)


def _blocks(model: nn.Module) -> Sequence[Block]:
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    if not blocks:
        log.warning("train.compiled: %s has no transformer block of this package, and stays as it is", _name(model))
    return blocks


def _allow(kinds: int) -> None:
    import torch._dynamo

    config = torch._dynamo.config
    config.recompile_limit = max(kinds, config.recompile_limit)
    config.accumulated_recompile_limit = max(kinds, config.accumulated_recompile_limit)


def _passed(block: Block, precision: Precision, device: str) -> torch.Tensor:
    """Returns what a block makes of a few tokens."""
    tokens = torch.zeros(*_TOKENS, block.attn.qkv.in_features, device=device, requires_grad=torch.is_grad_enabled())
    with autocast(precision, device):
        found: torch.Tensor = block(tokens)
    return found.float()


def _undo(blocks: Sequence[Block], error: Exception | None = None) -> None:
    for block in blocks:
        block._compiled_call_impl = None
    if error is not None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and not _HEAD.match(line)]
        reason = lines[0] if lines else type(error).__name__
        log.warning("train.compiled: the blocks cannot be compiled here and run as they are (%s)", reason)


def _name(model: nn.Module) -> str:
    return str(getattr(model, "name", type(model).__name__))

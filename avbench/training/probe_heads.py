"""The heads of a probe's sweep in one tensor, their loss and its gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def losses_of(logits: Tensor, right: Tensor) -> Tensor:
    """Returns the summed loss of each member, (M,), of logits (B, M, C) and targets (B,) or (B, C)."""
    batch, members, classes = logits.shape
    if right.ndim == 1:
        wide = right[:, None].expand(batch, members)
        return F.cross_entropy(logits.reshape(-1, classes), wide.reshape(-1), reduction="none").view(wide.shape).sum(0)
    # Sum of softplus(z) - y z; summed over classes, so that a weight decay means the same for both losses.
    own = torch.einsum("bmc,bc->m", logits, right.to(logits.dtype))
    return F.softplus(logits).sum(dim=(0, 2)) - own


HeadsLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
BLOCK_LOGITS = 2**22  # logits held at a time: 16 MB, near a processor's cache


class Heads:
    """M heads in one tensor (M, P): weight (C, D), bias (C,), and the LayerNorm's scale - 1 and shift, (D,) each."""

    def __init__(self, n_classes: int, width: int) -> None:
        self.sizes = (n_classes * width, n_classes, width, width)
        self.shape = (n_classes, width)

    def first(self, members: int, right: Tensor) -> Tensor:
        """Returns first values: zeros, which the loss of a linear head has no trouble leaving, and biases of priors."""
        classes = self.shape[0]
        counts = torch.bincount(right, minlength=classes) if right.ndim == 1 else right.sum(dim=0)
        prior = (counts.float() + 0.5) / (len(right) + 1)
        theta = torch.zeros(members, sum(self.sizes), device=right.device)
        theta[:, self.sizes[0] : self.sizes[0] + classes] = prior.log() if right.ndim == 1 else prior.logit()
        return theta

    def effective(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Returns each head as one linear map: (M, C, D) and (M, C)."""
        weight, bias, scale, shift = torch.split(theta, list(self.sizes), dim=1)
        weight = weight.view(-1, *self.shape)
        return weight * (1 + scale[:, None]), bias + torch.einsum("mcd,md->mc", weight, shift)

    def penalty(self, theta: Tensor) -> Tensor:
        """Returns half the squared distance from a plain LayerNorm and zero weights, (M,); the biases are free."""
        weight, _, scale, shift = torch.split(theta, list(self.sizes), dim=1)
        return sum(((part**2).sum(dim=1) for part in (weight, scale, shift)), torch.zeros(len(theta)).to(theta)) / 2


def objective_of(heads: Heads, inputs: Tensor, right: Tensor, decay: Tensor) -> HeadsLoss:
    """Returns a function of heads (M, P), their numbers (M,) and clips (B,): mean losses (M,) and gradients (M, P).

    Args:
        heads: The heads.
        inputs: Vectors of the clips.
        right: Their targets.
        decay: Weight decay of each head.
    """

    def objective(theta: Tensor, members: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        theta = theta.detach().requires_grad_()
        weight, bias = heads.effective(theta)
        # The gradient reaches the heads once, however many blocks of clips there are.
        flat, flat_bias = weight.detach().flatten(0, 1).requires_grad_(), bias.detach().requires_grad_()
        total = torch.zeros(len(theta), device=theta.device)
        for block in torch.split(rows, max(1, BLOCK_LOGITS // flat.shape[0])):
            x, y = (inputs, right) if len(block) == len(inputs) else (inputs[block], right[block])
            logits = (x @ flat.T).view(len(x), len(theta), -1) + flat_bias
            losses = losses_of(logits, y) / len(rows)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            total += losses.detach()
        penalty = heads.penalty(theta) * decay[members]
        (gradient,) = torch.autograd.grad(
            (weight, bias, penalty.sum()),
            theta,
            (flat.grad.view_as(weight), flat_bias.grad, None),  # type: ignore[union-attr]
        )
        return total + penalty.detach(), gradient

    return objective

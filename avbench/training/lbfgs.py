"""Limited-memory BFGS for several independent minimisations at once (Nocedal and Wright 2006, chapter 7).

torch's ``LBFGS`` has one step length for all it is given. Here each row has its own, its own history and its own end,
and all rows that are not finished are evaluated together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

HISTORY = 10
HALVINGS = 20
ARMIJO = 1e-4
TOLERANCE = 1e-6  # relative change of the loss at which a row is finished

#: From points (R, P) and the numbers of their rows (R,) to values (R,) and gradients (R, P).
Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def minimise(
    function: Function, start: Tensor, iterations: int, *, after: Callable[[], object] = lambda: None
) -> Tensor:
    """Returns a minimum of each row.

    Args:
        function: Smooth; rows do not depend on each other.
        start: (M, P).
        iterations: Most iterations.
        after: Called after each iteration.
    """
    point = start.clone()
    rows = torch.arange(len(point), device=point.device)
    value, gradient = function(point, rows)
    history: list[tuple[Tensor, Tensor, Tensor]] = []  # steps, changes of gradient, and 1 / their product
    for _ in range(iterations):
        if len(rows) == 0:
            break
        direction = _direction(gradient, history)
        new, new_value, new_gradient = _step(function, rows, point[rows], value, gradient, direction, bool(history))
        moved, change = new - point[rows], new_gradient - gradient
        product = (moved * change).sum(dim=1)
        # Without curvature along the step (or without a step) this pair says nothing: its row skips it.
        useful = product > 1e-10 * (change**2).sum(dim=1)
        history = [
            *history[-(HISTORY - 1) :],
            (moved, change, torch.where(useful, 1 / product, torch.zeros(()).to(product))),
        ]
        point[rows] = new
        going = (value - new_value) > TOLERANCE * new_value.abs().clamp(min=1e-3)
        rows, value, gradient = rows[going], new_value[going], new_gradient[going]
        history = [(s[going], y[going], rho[going]) for s, y, rho in history]
        after()
    return point


def _direction(gradient: Tensor, history: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Returns minus the inverse Hessian's estimate times the gradient, (R, P): the two-loop recursion."""
    direction = -gradient
    shares: list[Tensor] = []
    for s, y, rho in reversed(history):
        share = rho * (s * direction).sum(dim=1)
        direction = direction - share[:, None] * y
        shares.append(share)
    scale = torch.ones_like(gradient[:, 0])
    for _, y, rho in history:  # the newest useful pair decides
        scale = torch.where(rho > 0, 1 / (rho * (y**2).sum(dim=1)).clamp(min=1e-30), scale)
    direction = direction * scale[:, None]
    for (s, y, rho), share in zip(history, reversed(shares), strict=True):
        direction = direction + (share - rho * (y * direction).sum(dim=1))[:, None] * s
    return direction


def _step(
    function: Function,
    rows: Tensor,
    point: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
    informed: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns new points, values and gradients: each row's step is halved until its value falls enough.

    A row that no step improves stays where it is.
    """
    slope = (direction * gradient).sum(dim=1)
    # Nothing is known of the scale at first: a step of length one at most.
    length = torch.ones_like(value) if informed else 1 / direction.norm(dim=1).clamp(min=1.0)
    new, new_value, new_gradient = point.clone(), value.clone(), gradient.clone()
    pending = torch.arange(len(rows), device=rows.device)
    for _ in range(HALVINGS):
        tried = point[pending] + length[pending, None] * direction[pending]
        found, slopes = function(tried, rows[pending])
        enough = found <= value[pending] + ARMIJO * length[pending] * slope[pending]
        done = pending[enough]
        new[done], new_value[done], new_gradient[done] = tried[enough], found[enough], slopes[enough]
        pending = pending[~enough]
        if len(pending) == 0:
            break
        length[pending] /= 2
    return new, new_value, new_gradient

"""A linear head on frozen vectors: LayerNorm and Linear, trained for every value of a sweep at once.

The vectors do not change, so the normalisation is done once, and the members of a sweep (weight decays of L-BFGS,
learning rates of Adam) are one matrix product: their heads lie side by side. The value is chosen on a part of the
training clips that the heads have not seen; then one head is trained on all training clips. Test clips play no part.

Source: the head is that of the fine-tuning model (docs/protocol/cavmae.md 1.14, 3.3: ``mlp_head``); the papers give no
recipe for the probe (paper Tables 2i and 10), so the optimisers and their sweeps are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.data.feed.sampling import share_of_each
from avbench.data.progress import Progress
from avbench.errors import InputError
from avbench.metrics import classification as metric
from avbench.rng import numpy_stream
from avbench.training.lbfgs import minimise
from avbench.training.probe_heads import Heads, HeadsLoss, losses_of, objective_of

Optimizer = Literal["lbfgs", "adam"]
Array = npt.NDArray[Any]

EPS = 1e-5  # nn.LayerNorm's
BETAS = (0.95, 0.999)  # the authors' Adam (docs/protocol/cavmae.md 3.1), and its weight decay:
ADAM_WEIGHT_DECAY = 5e-7


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe:
    """How a head is trained.

    Attributes:
        optimizer: ``lbfgs``: full batch; ``adam``: mini-batches, the rate falling to zero along a cosine.
        sweep: Values to choose from: weight decays of ``lbfgs``, learning rates of ``adam``.
        iterations: Most iterations of ``lbfgs``.
        epochs: Passes of ``adam`` over the clips.
        batch_size: Clips a step of ``adam``.
        validation_fraction: Share of the training clips on which the value is chosen.
    """

    optimizer: Optimizer
    sweep: tuple[float, ...]
    iterations: int
    epochs: int
    batch_size: int
    validation_fraction: float


@dataclass(frozen=True)
class Trial:
    """One value of the sweep and what it reached on the validation clips."""

    value: float
    score: float  # top-1 accuracy or mAP; NaN where nothing was chosen
    loss: float


@dataclass(frozen=True)
class Probe:
    """A trained head.

    Attributes:
        weight: (C, D), the LayerNorm's scale included.
        bias: (C,), its shift included.
        single: One class a clip (softmax), or any number (sigmoids).
        chosen: The value of the sweep.
        trials: All values, in the order of the recipe.
    """

    weight: Tensor
    bias: Tensor
    single: bool
    chosen: float
    trials: tuple[Trial, ...]

    def scores(self, vectors: Array) -> npt.NDArray[np.float32]:
        """Returns log-probabilities, (n, C), of vectors (n, D): logarithms keep apart what rounds to one."""
        return _log_probabilities(normalise(vectors, str(self.weight.device)) @ self.weight.T + self.bias, self.single)


def normalise(vectors: Array, device: str = "cpu") -> Tensor:
    """Returns vectors (n, D) as LayerNorm does before its scale and shift: mean 0 and variance 1 each, float32."""
    values = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)).to(device)
    return F.layer_norm(values, values.shape[-1:], eps=EPS)


def fit(
    vectors: Array,
    target: Array,
    n_classes: int,
    recipe: ProbeRecipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
    name: str = "probe",
    chosen_with: npt.NDArray[np.bool_] | None = None,
) -> Probe:
    """Chooses a value of the sweep on a part of the clips and trains a head with it on all of them.

    Args:
        vectors: (n, D) finite.
        target: (n,) class indices: cross-entropy. (n, C) zeros and ones: binary cross-entropy, summed over classes.
        n_classes: C.
        recipe: How.
        seed: Of the choice of validation clips and of the order of mini-batches.
        device: Where to compute.
        progress: Whether to show a bar.
        name: What to call the work.
        chosen_with: (n,) which rows choose the value; None: as :func:`validation_split` draws them.

    Raises:
        InputError: There are too few clips to choose a value on.
    """
    single = target.ndim == 1
    inputs = normalise(vectors, device)  # (n, D)
    right = torch.from_numpy(np.ascontiguousarray(target)).to(device)
    trials = tuple(Trial(value, math.nan, math.nan) for value in recipe.sweep)
    if len(trials) > 1:
        if chosen_with is None:
            seen, unseen = validation_split(target, recipe.validation_fraction, seed)
        else:
            seen, unseen = np.flatnonzero(~chosen_with), np.flatnonzero(chosen_with)
        if len(seen) == 0 or len(unseen) == 0:
            raise InputError(
                f"linear probe: found {len(target)} training clips, of which {len(unseen)} would choose among"
                f" {len(trials)} values, valid: at least one to train and one to choose; give one value, or more clips."
            )
        rows, held_out = (torch.from_numpy(part).to(device) for part in (seen, unseen))
        heads = _train(
            inputs[rows], right[rows], n_classes, recipe.sweep, recipe, seed, f"{name}: sweep", progress=progress
        )
        trials = tuple(
            Trial(value, *_validate(inputs[held_out], target[unseen], weight, bias))
            for value, (weight, bias) in zip(recipe.sweep, heads, strict=True)
        )
    best = max(range(len(trials)), key=lambda i: (trials[i].score, -trials[i].loss)) if len(trials) > 1 else 0
    chosen = trials[best].value
    ((weight, bias),) = _train(inputs, right, n_classes, (chosen,), recipe, seed, name, progress=progress)
    return Probe(weight, bias, single, chosen, trials)


def validation_split(target: Array, fraction: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the clips to train on and those to choose with, about ``fraction``, in the same shares of each class.

    Of several labels a clip, the rarest counts.

    Args:
        target: (n,) class indices or (n, C) zeros and ones.
        fraction: In (0, 1).
        seed: Of the random order.
    """
    if target.ndim == 1:
        stratum = target
    else:
        counts = np.count_nonzero(target, axis=0)
        stratum = np.where(target.astype(bool), counts, len(target) + 1).argmin(axis=1)
    taken = share_of_each(stratum, fraction, numpy_stream(seed, "probe/validation"))
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def _validate(inputs: Tensor, target: Array, weight: Tensor, bias: Tensor) -> tuple[float, float]:
    """Returns the metric, top-1 accuracy or mAP, and the loss."""
    scores = _log_probabilities(inputs @ weight.T + bias, target.ndim == 1)
    right = torch.from_numpy(np.ascontiguousarray(target)).to(inputs.device)
    loss = float(losses_of((inputs @ weight.T + bias)[:, None], right)[0]) / len(target)
    if not np.isfinite(scores).all():  # a learning rate that was too high
        return -math.inf, math.inf
    if target.ndim == 1:
        return float(metric.top_k(scores, target, 1).mean()), loss
    return metric.summarise(scores, target)["mAP"], loss


def _log_probabilities(logits: Tensor, single: bool) -> npt.NDArray[np.float32]:
    found = F.log_softmax(logits, dim=-1) if single else F.logsigmoid(logits)
    values: npt.NDArray[np.float32] = found.cpu().numpy()
    return values


def _train(
    inputs: Tensor,
    right: Tensor,
    n_classes: int,
    sweep: tuple[float, ...],
    recipe: ProbeRecipe,
    seed: int,
    name: str,
    *,
    progress: bool,
) -> list[tuple[Tensor, Tensor]]:
    """Returns a trained head for each value of the sweep, as one linear map each: (C, D) and (C,)."""
    heads = Heads(n_classes, inputs.shape[1])
    theta = heads.first(len(sweep), right)
    values = torch.tensor(sweep, device=inputs.device)
    everything = torch.arange(len(inputs), device=inputs.device)
    if recipe.optimizer == "lbfgs":
        objective = objective_of(heads, inputs, right, values)
        with Progress(name, recipe.iterations, unit="iteration", enabled=progress) as bar:
            theta = minimise(lambda x, m: objective(x, m, everything), theta, recipe.iterations, after=bar.step)
    else:
        objective = objective_of(heads, inputs, right, torch.full_like(values, ADAM_WEIGHT_DECAY))
        with Progress(name, recipe.epochs, unit="epoch", enabled=progress) as bar:
            theta = _adam(objective, theta, values, everything, recipe, seed, bar)
    weight, bias = heads.effective(theta)
    return list(zip(weight, bias, strict=True))


def _adam(
    objective: HeadsLoss, theta: Tensor, rates: Tensor, rows: Tensor, recipe: ProbeRecipe, seed: int, bar: Progress
) -> Tensor:
    """Returns the heads after mini-batch training, each with its own learning rate."""
    n, members = len(rows), torch.arange(len(theta), device=theta.device)
    batches = math.ceil(n / recipe.batch_size)
    groups = [{"params": [head.clone()], "lr": rate} for head, rate in zip(theta, rates.tolist(), strict=True)]
    optimizer = torch.optim.Adam(groups, betas=BETAS)
    points = [group["params"][0] for group in optimizer.param_groups]
    steps = batches * recipe.epochs
    cosine = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for epoch in range(recipe.epochs):
        order = torch.from_numpy(numpy_stream(seed, "probe/order", epoch).permutation(n)).to(theta.device)
        for batch in torch.split(order, recipe.batch_size):
            _, gradients = objective(torch.stack(points), members, batch)
            for point, gradient in zip(points, gradients, strict=True):
                point.grad = gradient
            optimizer.step()
            cosine.step()
        bar.step()
    return torch.stack(points)

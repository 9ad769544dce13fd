"""The linear head: optimum, sweep, validation split, determinism, and that test clips play no part."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from avbench.errors import InputError
from avbench.training import probe_heads
from avbench.training.lbfgs import minimise
from avbench.training.probe import Optimizer, ProbeRecipe, fit, normalise, validation_split

Array = npt.NDArray[Any]
RECIPE = ProbeRecipe(
    optimizer="lbfgs", sweep=(1e-2, 1e-1), iterations=40, epochs=20, batch_size=32, validation_fraction=0.25
)
ADAM = dataclasses.replace(RECIPE, optimizer="adam", sweep=(3e-3, 3e-2))


def vectors(n: int = 160, width: int = 12, classes: int = 6, seed: int = 0) -> tuple[Array, Array]:
    """Returns vectors around a centre for each class, and the classes."""
    centres = np.random.default_rng(99).standard_normal((classes, width))
    rng = np.random.default_rng(seed)
    target = rng.integers(classes, size=n)
    return (centres[target] + 0.7 * rng.standard_normal((n, width))).astype(np.float32), target


def multi(n: int = 160, classes: int = 6) -> tuple[Array, Array]:
    values, target = vectors(n, classes=classes)
    hot = np.eye(classes, dtype=bool)[target]
    hot[::3, 0] = True
    return values, hot


@pytest.mark.parametrize("recipe", [RECIPE, ADAM])
def test_learns_and_is_reproducible(recipe: ProbeRecipe) -> None:
    values, target = vectors()
    unseen, wanted = vectors(seed=1)
    first, again = (fit(values, target, 6, recipe, seed=4) for _ in range(2))
    scores = first.scores(unseen)
    assert scores.dtype == np.float32
    assert np.exp(scores).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (scores.argmax(axis=1) == wanted).mean() > 0.85
    assert np.array_equal(scores, again.scores(unseen))
    assert first.trials == again.trials


@pytest.mark.parametrize("recipe", [RECIPE, ADAM])
def test_several_labels(recipe: ProbeRecipe) -> None:
    values, target = multi()
    found = fit(values, target, 6, recipe)
    chance = np.exp(found.scores(values))
    assert ((chance > 0) & (chance < 1)).all()
    assert ((chance > 0.5) == target).mean() > 0.78
    assert not found.single


def test_normalise_is_layer_norm() -> None:
    values, _ = vectors(5)
    assert torch.allclose(
        normalise(values * 9 + 3), nn.LayerNorm(12, elementwise_affine=False)(torch.tensor(values)), atol=1e-4
    )


def test_scores_do_not_depend_on_scale_or_offset_of_a_vector() -> None:
    values, target = vectors()
    found = fit(values, target, 6, RECIPE)
    assert found.scores(values * 3 + 1) == pytest.approx(found.scores(values), abs=1e-3)


def test_with_little_decay_the_loss_is_that_of_logistic_regression() -> None:
    values, target = vectors(600)
    values += 2 * np.random.default_rng(3).standard_normal(values.shape, np.float32)  # so that no plane parts them
    recipe = dataclasses.replace(RECIPE, sweep=(1e-6,), iterations=300)
    ours = fit(values, target, 6, recipe).scores(values)
    inputs = normalise(values).numpy()
    theirs = LogisticRegression(C=1e6, max_iter=1000).fit(inputs, target).predict_log_proba(inputs)
    rows = np.arange(600)
    assert -ours[rows, target].mean() == pytest.approx(-theirs[rows, target].mean(), rel=0.005)


def test_members_of_a_sweep_do_not_influence_each_other() -> None:
    values, target = vectors()
    for recipe in (RECIPE, ADAM):
        together = fit(values, target, 6, recipe)
        alone = fit(values, target, 6, dataclasses.replace(recipe, sweep=(together.chosen,)))
        assert alone.scores(values) == pytest.approx(together.scores(values), abs=1e-4)


def test_the_best_value_is_chosen_and_a_diverging_one_is_not() -> None:
    values, target = vectors()
    found = fit(values, target, 6, dataclasses.replace(RECIPE, sweep=(100.0, 1e-2)))
    assert found.chosen == 1e-2
    assert found.trials[1].score > found.trials[0].score
    wild = fit(values, target, 6, dataclasses.replace(ADAM, sweep=(1e30, 1e-2)))
    assert wild.chosen == 1e-2
    assert np.isfinite(wild.scores(values)).all()


def test_one_value_needs_no_validation_clips_and_too_few_are_refused() -> None:
    values, target = vectors(1)
    fit(values, target, 6, dataclasses.replace(RECIPE, sweep=(0.1,)))
    with pytest.raises(InputError, match="found 1 training clips, of which 0 would choose among 2 values"):
        fit(values, target, 6, RECIPE)


def test_blocks_of_clips_give_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    for values, target in (vectors(60), multi(60)):
        whole = fit(values, target, 6, RECIPE).scores(values)
        with monkeypatch.context() as patch:
            patch.setattr(probe_heads, "BLOCK_LOGITS", 400)
            assert fit(values, target, 6, RECIPE).scores(values) == pytest.approx(whole, abs=0.05, rel=0.01)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_class_without_training_clips_is_allowed(optimizer: Optimizer) -> None:
    values, target = vectors()
    found = fit(values, target, 8, dataclasses.replace(RECIPE, optimizer=optimizer, sweep=(0.01, 0.02)))
    scores = found.scores(values)
    assert np.isfinite(scores).all()
    assert (scores.argmax(axis=1) < 6).all()


def test_validation_takes_its_share_of_each_class() -> None:
    target = np.repeat([0, 1, 2], [40, 9, 1])
    seen, unseen = validation_split(target, 0.2, seed=0)
    assert sorted([*seen, *unseen]) == list(range(50))
    assert len(unseen) == 10
    assert np.bincount(target[unseen], minlength=3).tolist()[0] == 8
    again = validation_split(target, 0.2, seed=0)
    assert np.array_equal(unseen, again[1])
    assert not np.array_equal(unseen, validation_split(target, 0.2, seed=1)[1])


def test_validation_of_several_labels_follows_the_rarest() -> None:
    target = np.zeros((100, 3), bool)
    target[:, 0] = True
    target[:20, 1] = True
    target[:10, 2] = True
    _, unseen = validation_split(target, 0.2, seed=0)
    assert np.count_nonzero(target[unseen], axis=0).tolist() == [20, 4, 2]


def test_minimise_finds_the_minimum_of_each_row() -> None:
    scale = torch.tensor([[1.0, 50.0, 1000.0], [1.0, 1.0, 1.0], [0.1, 10.0, 0.01]])
    goal = torch.tensor([[1.0, -2.0, 3.0], [4.0, 4.0, 4.0], [0.0, 1.0, -1.0]])

    def bowl(point: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        away = point - goal[rows]
        return 1 + (scale[rows] * away**2).sum(dim=1) / 2, scale[rows] * away

    found = minimise(bowl, torch.zeros(3, 3), 200)
    assert bowl(found, torch.arange(3))[0].numpy() == pytest.approx(1, abs=1e-3)
    alone = torch.cat(
        [minimise(lambda p, _, i=i: bowl(p, torch.tensor([i])), torch.zeros(1, 3), 200) for i in range(3)]
    )
    assert alone.numpy() == pytest.approx(found.numpy(), abs=1e-3)


def test_minimise_solves_rosenbrock() -> None:
    def valley(point: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        point = point.detach().requires_grad_()
        value = 100 * (point[:, 1] - point[:, 0] ** 2) ** 2 + (1 - point[:, 0]) ** 2
        (gradient,) = torch.autograd.grad(value.sum(), point)
        return value.detach(), gradient

    found = minimise(valley, torch.tensor([[-1.2, 1.0], [0.0, 0.0]], dtype=torch.float64), 200)
    assert found.numpy() == pytest.approx(np.ones((2, 2)), abs=0.05)

from __future__ import annotations

import pytest
import torch

from avbench.errors import InputError
from avbench.methods.masking import Draws, MaskPlan
from avbench.methods.positions import Grid

GRID = Grid(8, 64)


def masks(plan: MaskPlan, batch: int = 16, seed: int = 0) -> torch.Tensor:
    draws = plan.draw(batch, torch.Generator().manual_seed(seed))
    return plan.mask(draws).removed.reshape(batch, *plan.grid)


def test_uniform_keeps_the_smallest_draws_in_their_order() -> None:
    mask = MaskPlan(Grid(1, 5), 0.5).mask(Draws(torch.tensor([[0.3, 0.9, 0.1, 0.5, 0.2]])))
    assert mask.kept.tolist() == [[2, 4]]
    assert mask.removed.tolist() == [[1, 1, 0, 1, 0]]


def test_keep_and_restore_are_inverse() -> None:
    plan = MaskPlan(GRID, 0.75)
    mask = plan.mask(plan.draw(2, torch.Generator().manual_seed(0)))
    tokens = torch.randn(2, 512, 3)
    filler = torch.full((1, 1, 3), 7.0)
    restored = mask.restore(mask.keep(tokens), filler)
    removed = mask.removed.bool()
    assert torch.equal(restored[~removed], tokens[~removed])
    assert (restored[removed] == 7).all()


# Kept tokens, and marked columns and rows of the authors' code (docs/protocol/cavmae.md 1.9).
TABLE = [
    (0.50, 256, 32, 4, 22, 2),
    (0.65, 179, 41, 5, 29, 3),
    (0.75, 128, 48, 6, 33, 4),
    (0.85, 76, 54, 6, 38, 4),
    (0.90, 51, 57, 7, 40, 5),
]


@pytest.mark.parametrize(("ratio", "kept", "columns", "rows", "tf_columns", "tf_rows"), TABLE)
def test_reference_counts(ratio: float, kept: int, columns: int, rows: int, tf_columns: int, tf_rows: int) -> None:
    wanted = {"time": (0, columns), "frequency": (rows, 0), "time_frequency": (tf_rows, tf_columns)}
    for strategy, lines in wanted.items():
        plan = MaskPlan(GRID, ratio, strategy, "reference")  # type: ignore[arg-type]
        assert plan.lines == lines
        assert plan.n_kept == kept
        assert (masks(plan).sum((1, 2)) == 512 - kept).all()


def test_reference_time_frequency_leaks_as_many_tokens_as_the_authors_code() -> None:
    plan = MaskPlan(GRID, 0.75, "time_frequency", "reference")
    draws = plan.draw(16, torch.Generator().manual_seed(0))
    removed = plan.mask(draws).removed.bool()
    chosen = plan._chosen(draws).bool()  # type: ignore[union-attr]
    assert (chosen.sum(1) == 388).all()
    assert ((chosen & ~removed).sum(1) == 4).all()
    assert not (removed & ~chosen).any()


def test_reference_fills_up_with_single_tokens() -> None:
    plan = MaskPlan(GRID, 0.85, "frequency", "reference")
    whole = (masks(plan).sum(2) == 64).sum(1)
    assert (whole >= 6).all()
    assert (masks(plan).sum((1, 2)) == 436).all()


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.65, 0.75, 0.85])
@pytest.mark.parametrize("strategy", ["time", "frequency", "time_frequency"])
def test_exact_removes_whole_lines_and_nothing_else(strategy: str, ratio: float) -> None:
    plan = MaskPlan(GRID, ratio, strategy)  # type: ignore[arg-type]
    row, column = plan.lines
    removed = masks(plan).bool()
    rows, columns = removed.all(2), removed.all(1)
    assert (rows.sum(1) == row).all()
    assert (columns.sum(1) == column).all()
    assert torch.equal(removed, rows[:, :, None] | columns[:, None, :])
    finest = {"time": 1 / 64, "frequency": 1 / 8, "time_frequency": 1 / 64}[strategy]
    assert abs(removed.float().mean().item() - ratio) <= finest / 2 + 1e-6


def test_exact_and_reference_agree_where_whole_lines_make_the_ratio() -> None:
    for strategy in ("time", "frequency"):
        exact, reference = (MaskPlan(GRID, 0.75, strategy, form) for form in ("exact", "reference"))  # type: ignore[arg-type]
        assert torch.equal(masks(exact), masks(reference))


def test_every_line_is_chosen_equally_often() -> None:
    plan = MaskPlan(GRID, 0.5, "time")
    share = masks(plan, batch=4000).mean((0, 1))  # (64)
    assert share.min() > 0.45
    assert share.max() < 0.55


def test_draws_are_a_function_of_the_generator() -> None:
    plan = MaskPlan(GRID, 0.5, "time_frequency")
    assert torch.equal(masks(plan, seed=3), masks(plan, seed=3))
    assert not torch.equal(masks(plan, seed=3), masks(plan, seed=4))


def test_part_of_a_batch_gives_the_same_masks() -> None:
    plan = MaskPlan(GRID, 0.5, "time")
    draws = plan.draw(4, torch.Generator().manual_seed(0))
    assert torch.equal(plan.mask(draws).removed[1:3], plan.mask(draws.part(slice(1, 3))).removed)


def test_wrong_draws_are_refused() -> None:
    with pytest.raises(InputError, match="valid: \\(B, 512\\)"):
        MaskPlan(GRID, 0.5).mask(Draws(torch.rand(2, 196)))
    with pytest.raises(InputError, match="needs"):
        MaskPlan(GRID, 0.5, "time").mask(Draws(torch.rand(2, 512)))


def test_a_ratio_is_drawn_for_the_whole_batch() -> None:
    plan = MaskPlan(GRID, 0.75, ratio_range=(0.6, 0.9))
    seen = set()
    for seed in range(20):
        draws = plan.draw(4, torch.Generator().manual_seed(seed))
        removed = plan.mask(draws).removed.sum(1)
        assert (removed == removed[0]).all()
        assert torch.equal(plan.mask(draws.part(slice(2, 3))).removed, plan.mask(draws).removed[2:3])
        seen.add(removed[0].item())
    assert 0.6 * 512 <= min(seen) < 0.7 * 512
    assert 0.8 * 512 < max(seen) <= 0.9 * 512 + 1


def test_a_drawn_ratio_leaves_the_token_draws_alone() -> None:
    fixed, drawn = MaskPlan(GRID, 0.75), MaskPlan(GRID, 0.75, ratio_range=(0.6, 0.9))
    draws = [plan.draw(2, torch.Generator().manual_seed(0)).tokens for plan in (fixed, drawn)]
    assert torch.equal(*draws)

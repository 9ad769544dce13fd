"""Which row of the leaderboard may be called the best, and what is said of one that may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import table_records

from avbench.report.page import build, groups
from avbench.report.page.leaders import leaders
from avbench.store import index

KEY = "v2a/R@10"


def write(results: Path, method: str, skill: float, seeds: int = 3, **changes: Any) -> None:
    for seed in range(seeds):
        name = f"{method}{changes.get('weights', '')}{seed}"
        table_records.retrieval(results, name, method, skill, seed, chance={KEY: 1 / 6}, **changes)


def said(results: Path, key: str = KEY) -> dict[tuple[str, str], str]:
    rows = groups.board(index.read(results).rows, results)
    found = leaders(rows, groups.main_clips(rows))
    return {(rows[i].place[2], rows[i].place[3]): leads[key] for i, leads in found.items() if key in leads}


def test_a_row_that_is_separated_from_all_others_is_the_best(tmp_path: Path) -> None:
    write(tmp_path, "cav", 8.0)
    write(tmp_path, "avmae", 1.5)
    write(tmp_path, "cav", 1.0, weights="untrained")
    assert said(tmp_path) == {("cav", "pretrained"): "best"}


def test_a_row_that_is_not_is_said_to_be_so(tmp_path: Path) -> None:
    write(tmp_path, "cav", 8.0)
    write(tmp_path, "cavmae", 7.5)
    write(tmp_path, "avmae", 1.5)
    assert said(tmp_path) == {("cav", "pretrained"): "not separated from cavmae"}
    rows = groups.board(index.read(tmp_path).rows, tmp_path)
    main = groups.main_clips(rows)
    (card,) = build._glance(rows, main, leaders(rows, main))
    assert (card["method"], card["lead"][:19]) == ("cav", "not separated from ")


@pytest.mark.parametrize(("seeds", "why"), [(1, "one seed"), (2, "2 seeds")])
def test_few_seeds_are_not_tested(tmp_path: Path, seeds: int, why: str) -> None:
    write(tmp_path, "cav", 8.0, seeds)
    write(tmp_path, "avmae", 1.5, seeds)
    assert said(tmp_path) == {("cav", "pretrained"): f"not tested: {why}"}


def test_where_an_untrained_model_is_better_none_is_the_best(tmp_path: Path) -> None:
    write(tmp_path, "cav", 5.0)
    write(tmp_path, "avmae", 1.2)
    write(tmp_path, "avmae", 8.0, weights="untrained")
    assert said(tmp_path) == {("cav", "pretrained"): "untrained avmae is better"}


def test_a_row_at_chance_does_not_lead(tmp_path: Path) -> None:
    write(tmp_path, "cav", 1.05)
    write(tmp_path, "avmae", 1.0)
    assert said(tmp_path) == {}


def test_lower_ranks_lead_and_the_interval_of_the_page_is_over_seeds_and_clips(tmp_path: Path) -> None:
    write(tmp_path, "cav", 8.0)
    write(tmp_path, "avmae", 1.5)
    assert said(tmp_path, "v2a/median_rank") == {("cav", "pretrained"): "best"}
    row = next(row for row in groups.board(index.read(tmp_path).rows, tmp_path) if row.place[2] == "cav")
    mean, sd, low, high, chance = row.values[KEY]
    found = row.judge.mean(row.measured(KEY))
    assert found is not None
    assert (low, high) == found.interval(share=True)
    assert (found.value, found.seeds) == (pytest.approx(mean), 3)
    assert sd is not None
    assert chance == 1 / 6

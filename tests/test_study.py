"""The study: what docs/study.md says of each claim is what the archived records say, and verdicts are as defined."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from avbench.errors import InputError

ROOT = Path(__file__).parents[1]


def script(name: str) -> Any:
    """Imports a script of benchmarks/, under its name: another may import it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def claims() -> Any:
    return script("claims")


@pytest.mark.usefixtures("claims")
def test_the_page_says_what_the_records_say() -> None:
    assert script("study_page").page(ROOT / "results" / "study") == (ROOT / "docs" / "study.md").read_text("utf-8")


def test_a_number_without_records_is_refused(claims: Any) -> None:
    records = claims.Means(ROOT / "results" / "study")
    with pytest.raises(InputError, match=r"\{\{retrieval\|a2v/R@1\|audiomae\}\}: found no such records"):
        script("study_page").number(records, "retrieval|a2v/R@1|audiomae")


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [
        ((True, True), "reproduces"),
        ((True, None), "in part"),
        ((True, False), "does not"),
        ((None, False), "does not"),
        ((None, None), "not separated"),
    ],
)
def test_a_verdict_is_by_the_answers(claims: Any, holds: tuple[bool | None, ...], verdict: str) -> None:
    side = claims.Side("cavmae", "retrieval", "a2v/R@10")
    found = [claims.Answer("alike", (side, side), (0.1, 0.1), (0.0, 0.0), None, each, 3) for each in holds]
    assert claims.verdict(found)[0] == verdict


def test_a_difference_counts_if_it_is_separated_and_of_three_seeds(claims: Any) -> None:
    sides = claims.Side("cavmae", "retrieval", "a2v/R@10"), claims.Side("cav", "retrieval", "a2v/R@10")
    error = claims.Side("cavmae", "reconstruction", "audio/uniform@0.5/mse")

    def verdict(values: tuple[float, float], p: float, seeds: int = 3, of: Any = sides) -> str:
        return str(claims.verdict([claims.Answer("above", of, values, (0.0, 0.0), p, None, seeds)])[0])

    assert verdict((0.3, 0.2), 0.01) == "reproduces"
    assert verdict((0.3, 0.2), 0.2) == "not separated"
    assert verdict((0.3, 0.2), 0.01, seeds=2) == "not separated"
    assert verdict((0.2, 0.3), 0.01) == "does not"
    assert verdict((0.2, 0.3), 0.01, of=(error, error)) == "reproduces"  # lower is better
    missing = claims.Answer("above", sides, missing=("retrieval of cav",))
    assert claims.verdict([missing])[0] == "open"


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ((-0.01, 0.02), True),
        ((0.04, 0.05), False),
        ((-0.05, -0.04), False),
        ((0.02, 0.05), None),
        ((-0.17, 0.15), None),  # so wide that it says nothing, though both ends are beyond the margin
    ],
)
def test_alike_is_told_by_the_whole_interval(claims: Any, ends: tuple[float, float], told: bool | None) -> None:
    assert claims.alike(ends, 0.03) is told

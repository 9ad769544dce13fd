"""What is best, what can be told from it, and what is at chance: of tables and of the page, with the marks that say so.

A mean over seeds is compared with the best of its column by the estimator of :mod:`avbench.metrics.hierarchical`. It is
separated from it, not separated, or not tested, and then it is said why. The p-values are corrected (Holm) for a family
that has all pairs of all columns, because which row is the best is known only after looking.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from avbench.compare.outputs import Measured, Outputs
from avbench.errors import InputError
from avbench.files import read_json, write_sealed
from avbench.metrics import hierarchical
from avbench.metrics.hierarchical import POWER, Estimate, Spread
from avbench.metrics.units import unit

TIED, UNTESTED, CHANCE = "tied", "untested", "chance"
OTHER_N, OTHER_SETTINGS, OTHER_CLIPS, OURS, STALE = "other_n", "other_settings", "other_clips", "ours", "stale"
MARKS = {
    TIED: ("≈", "not separated from the best"),
    UNTESTED: ("?", "not tested against the best"),
    CHANCE: ("°", "the 95 % interval contains chance"),
    OTHER_N: ("#", "n is not the published n, so that test sets differ"),
    OTHER_SETTINGS: ("‡", "settings differ from those of the published row"),
    OTHER_CLIPS: ("§", "judged on other clips than the rest of the column"),
    OURS: ("¶", "our recipe: the paper does not state its own, or it cannot be had exactly"),
    STALE: ("†", "of an archive that is stale: with today's code and presets the run would be another"),
}
DASH = "–"
NO_OUTPUTS, UNVARIED, TOGETHER = "no outputs by sample", "nothing varies", "two models together"
FEWEST_SEEDS = 3  # two often agree by chance, and equal models would be told apart: benchmarks/coverage.py
ALPHA = 1 - hierarchical.LEVEL
CACHE = Path(".cache", "estimates.json")
VERSION = 1  # of what is kept
P = TypeVar("P", bound=Hashable)


def meaning(name: str) -> str:
    """Returns a mark and what it means."""
    return " ".join(MARKS[name])


class Judge:
    """Estimates of one results folder; what was found is kept in RESULTS/.cache/estimates.json."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.outputs = Outputs(results)
        self._kept = self._read()
        self._new = False
        self._ends: dict[str, tuple[float, float]] = {}

    def mean(self, measured: Measured) -> Estimate | None:
        """Returns the mean over seeds; None where outputs are gone."""
        return self._estimate((measured,))

    def difference(self, first: Measured, second: Measured) -> Estimate | None:
        """Returns first less second; None where outputs are gone, or the clips are others."""
        return self._estimate((first, second)) if first.clips == second.clips else None

    def ends(self, measured: Measured) -> tuple[float, float] | None:
        """Returns the 95 % interval: of one seed that of its record, over clips; None where there is none."""
        if len(measured.runs) == 1:
            return measured.runs[0].ends
        if measured.name not in self._ends:
            found = self.mean(measured)
            if found is None:
                return None
            self._ends[measured.name] = found.interval(share=unit(measured.metric, measured.task).share)
        return self._ends[measured.name]

    def at_chance(self, measured: Measured) -> bool:
        """Tells whether the interval contains chance; False where either is not known."""
        chance = measured.runs[0].chance
        ends = None if chance is None else self.ends(measured)
        return chance is not None and ends is not None and ends[0] <= chance <= ends[1]

    def save(self) -> None:
        """Keeps what was found, where the folder can be written to."""
        if self._new:
            with contextlib.suppress(OSError, ValueError):  # a folder that is read only, or a number that is none
                write_sealed(self.results / CACHE, {"version": VERSION, "found": self._kept})

    def _read(self) -> dict[str, Any]:
        try:
            kept = read_json(self.results / CACHE)
            found: dict[str, Any] = kept["found"] if kept["version"] == VERSION else {}
        except (InputError, KeyError, TypeError):
            return {}
        return found

    def _estimate(self, of: tuple[Measured, ...]) -> Estimate | None:
        key = " ".join(measured.name for measured in of)
        if key not in self._kept:
            samples = [self.outputs.sample(measured) for measured in of]
            known = [sample for sample in samples if sample is not None]
            if len(known) < len(of):
                return None  # asked again, should they come back
            try:
                found = hierarchical.mean(known[0]) if len(of) == 1 else hierarchical.difference(known[0], known[1])
            except InputError:
                return None  # of other numbers of units
            self._kept[key] = [
                *dataclasses.astuple(found.spread),
                found.value,
                found.seeds,
                found.units,
                found.resamples,
            ]
            self._new = True
        clips, seeds, both, *rest = self._kept[key]
        return Estimate(rest[0], Spread(clips, seeds, both), *rest[1:])


@dataclass(frozen=True)
class Ranked(Generic[P]):
    """One number of a column.

    Attributes:
        place: Where it is.
        mean: The number.
        measured: What is behind it; None: two models together, which are not tested.
    """

    place: P
    mean: float
    measured: Measured | None


@dataclass(frozen=True)
class Verdict:
    """What is said of a number.

    Attributes:
        at_chance: Its interval contains chance.
        best: ``best`` or ``second`` of its column, or "".
        p: The p-value of its difference to the best; None: not tested.
        p_holm: The same, for all tests of the family together.
        untested: Why it is not tested; "": it is, or it is the best.
    """

    at_chance: bool = False
    best: str = ""
    p: float | None = None
    p_holm: float | None = None
    untested: str = ""

    @property
    def tied(self) -> bool:
        """Whether the best cannot be told from it."""
        return self.p_holm is not None and self.p_holm > ALPHA


@dataclass(frozen=True)
class Family(Generic[P]):
    """The verdicts on several columns, corrected together.

    Attributes:
        verdicts: Of each place.
        tests: How many pairs the correction is for.
        shown: Task and metric to the smallest difference that would have been found, of the tests' mean variance.
    """

    verdicts: Mapping[P, Verdict]
    tests: int = 0
    shown: Mapping[tuple[str, str], float] = field(default_factory=dict)


def judged(columns: Sequence[tuple[bool, Sequence[Ranked[P]]]], judge: Judge) -> Family[P]:
    """Returns the verdicts on columns of numbers. A column whose best is at chance has no best.

    Args:
        columns: Whether higher is better, and the numbers that compare: of the same clips.
        judge: Of the results they are from.
    """
    verdicts: dict[P, Verdict] = {}
    asked: dict[P, _Test] = {}
    pairs: set[frozenset[str]] = set()
    for up, column in columns:
        found = {
            each.place: Verdict(at_chance=bool(each.measured and judge.at_chance(each.measured))) for each in column
        }
        verdicts |= found
        values = sorted({each.mean for each in column}, reverse=up)
        top = [each for each in column if each.mean == values[0]] if len(values) > 1 else []
        if not top or any(found[each.place].at_chance for each in top):
            continue
        names = sorted({each.measured.name for each in column if each.measured and not _untested(each)})
        pairs |= {frozenset((one, other)) for i, one in enumerate(names) for other in names[:i]}
        for each in column:
            verdict, rank = found[each.place], "best" if each in top else ""
            if not rank and each.mean == values[1] and not verdict.at_chance:
                rank = "second"
            tested = "" if rank == "best" else _tested(top[0], each, judge)
            if isinstance(tested, _Test):
                asked[each.place] = tested
            why = tested if isinstance(tested, str) else ""
            verdicts[each.place] = dataclasses.replace(verdict, best=rank, untested=why)
    tests = {test.pair: test for test in asked.values()}  # the same of two columns is one
    adjusted = hierarchical.holm([test.p for test in tests.values()], tests=len(pairs))
    p_holm = dict(zip(tests, adjusted, strict=True))
    for place, test in asked.items():
        verdicts[place] = dataclasses.replace(verdicts[place], p=test.p, p_holm=p_holm[test.pair])
    return Family(verdicts, len(pairs), _shown(list(tests.values()), len(pairs)))


class _Test(NamedTuple):
    metric: tuple[str, str]  # of which task, and its key
    pair: frozenset[str]
    estimate: Estimate
    p: float


def _untested(entry: Ranked[P]) -> str:
    """Returns why a number cannot be tested; "": it can, where its outputs are there."""
    if entry.measured is None:
        return TOGETHER
    seeds = len(entry.measured.runs)
    return "" if seeds >= FEWEST_SEEDS else "one seed" if seeds == 1 else f"{seeds} seeds"


def _tested(best: Ranked[P], other: Ranked[P], judge: Judge) -> _Test | str:
    why = _untested(best) or _untested(other)
    if why or best.measured is None or other.measured is None:
        return why
    estimate = judge.difference(best.measured, other.measured)
    if estimate is None:
        return NO_OUTPUTS
    p, names = estimate.p(), frozenset((best.measured.name, other.measured.name))
    return UNVARIED if p is None else _Test((best.measured.task, best.measured.metric), names, estimate, p)


def _shown(tests: Sequence[_Test], count: int) -> dict[tuple[str, str], float]:
    """Returns the smallest differences of each metric, for the mean variance: that of one test is rarely right."""
    found: dict[tuple[str, str], list[Estimate]] = {}
    for test in tests:
        found.setdefault(test.metric, []).append(test.estimate)
    return {
        metric: hierarchical.typical(estimates).shown(ALPHA / count, power=POWER) for metric, estimates in found.items()
    }

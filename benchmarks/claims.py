"""What the papers claim, asked of the records of the study: each claim with its numbers and a verdict.

    python benchmarks/claims.py --results DIR [--format markdown|json]

``claims.yaml`` lists the claims with their places in the papers. A claim is one or more questions: that one mean over
seeds is above another, that two are alike, or that a mean is at chance. All are answered by the estimator behind every
mark of avbench, seeds and clips together; p-values are corrected (Holm) within a claim.

A claim reproduces if all its questions are answered as the paper answers them, in part if some are and none is answered
the other way, and does not if one is answered the other way. Where no question can be answered either way, it is not
separated. A question without records says so, and its claim is open.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from avbench.compare.configuration import AT_FIRST, BEFORE, EARLIER
from avbench.compare.outputs import Measured, measured
from avbench.errors import InputError
from avbench.metrics.hierarchical import Estimate, holm
from avbench.metrics.units import unit
from avbench.report.ranking import ALPHA, Judge
from avbench.report.records import Records
from avbench.report.tables.selection import Query, fits, same, standard

CLAIMS = Path(__file__).with_name("claims.yaml")
DATA, PRESETS = "soundshapes", ("soundshapes", "soundshapes-study")
YES, PART, NO, NEITHER, OPEN = "reproduces", "in part", "does not", "not separated", "open"
FEWEST = 3  # seeds
_LONG = {"earlier": EARLIER, "first": f"{BEFORE}{AT_FIRST}method"}  # facts of trainings before the last


@dataclass(frozen=True)
class Side:
    """A mean over seeds that a claim speaks of.

    Attributes:
        method: Of which method.
        task: Of which task.
        metric: Of which metric.
        data: On which data.
        where: Facts in which its records differ from the usual settings of the embedded set.
    """

    method: str
    task: str
    metric: str
    data: str = DATA
    where: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, task: str, metric: str, data: str) -> Side:
        """Reads ``METHOD [untrained] [KEY=VALUE ...] [@METRIC]``.

        Args:
            text: The side.
            task: The claim's task.
            metric: The metric where the side names none.
            data: On which data.
        """
        method, *rest = text.split()
        where: dict[str, Any] = {}
        for word in rest:
            if word.startswith("@"):
                metric = word[1:]
            elif "=" in word:
                key, _, value = word.partition("=")
                where[_LONG.get(key, key)] = yaml.safe_load(value)
            else:
                where["weights"] = word
        return cls(method, task, metric, data, where)

    def name(self, shown: str) -> str:
        """Returns what to call it in a line that is about the metric ``shown``."""
        names, facts = {long: short for short, long in _LONG.items()}, self.where.items()
        own = [str(value) if key == "weights" else f"{names.get(key, key)}={value}" for key, value in facts]
        own += [self.metric] if self.metric != shown else []
        return f"{self.method} ({', '.join(own)})" if own else self.method


@dataclass(frozen=True)
class Answer:
    """One question and what the records say.

    Attributes:
        kind: ``above``, ``alike`` or ``chance``.
        sides: The one or two means.
        values: Theirs.
        ends: The 95 % interval of the difference, or of the mean that may be at chance; None: there is none.
        p: Of no difference; None: not tested.
        holds: What the paper says is so (True), the contrary is (False), or neither can be told (None).
        seeds: Behind it.
        missing: What there are no records of; empty: nothing.
    """

    kind: str
    sides: tuple[Side, ...]
    values: tuple[float, ...] = ()
    ends: tuple[float, float] | None = None
    p: float | None = None
    holds: bool | None = None
    seeds: int = 0
    missing: tuple[str, ...] = ()


class Means:
    """The means over seeds that a results folder holds."""

    def __init__(self, results: Path) -> None:
        self.archive = Records(results)
        self.judge = Judge(results)

    def find(self, side: Side) -> Measured | None:
        """Returns the mean of the records with the usual settings but for those of the side; None: there is none."""
        query = Query(
            method=side.method, task=side.task, data=(side.data,), metric=side.metric, where=side.where, presets=PRESETS
        )
        usual = standard(side.method, side.task, PRESETS)
        found = [
            group
            for group in self.archive.of(side.method, side.task, side.data)
            if side.metric in group.first.metrics
            and fits(group, query)
            and all(
                same(group.facts[key], value)
                for key, value in usual.items()
                if key in group.facts and key not in side.where and not _beside(key, side)
            )
        ]
        best = max(found, key=lambda group: (len(group.rows), max(row.created for row in group.rows)), default=None)
        return None if best is None else measured(best.rows, side.metric)

    def difference(self, first: Side, second: Side) -> tuple[Measured | None, Measured | None, Estimate | None]:
        """Returns both means and the estimate of first less second, over the seeds that both have."""
        one, other = self.find(first), self.find(second)
        if one is None or other is None:
            return one, other, None
        shared = {run.seed for run in one.runs} & {run.seed for run in other.runs}
        one, other = (_of_seeds(each, shared) for each in (one, other))
        return one, other, self.judge.difference(one, other) if shared else None


def _beside(key: str, side: Side) -> bool:
    """Tells whether a setting changes no number of this metric: which models there are besides, or no training."""
    return key in ("task.modes", "task.missing") or (
        side.where.get("weights") == "untrained" and key.startswith(("train.", "method.lambda_"))
    )


def _of_seeds(mean: Measured, seeds: set[int]) -> Measured:
    runs = tuple(run for run in mean.runs if run.seed in seeds)
    return Measured(mean.task, mean.metric, mean.options, mean.clips, runs)


def answers(records: Means, claim: Mapping[str, Any]) -> list[Answer]:
    """Returns the answers to a claim's questions, their p-values not corrected yet."""
    found = []
    for task, metric, kind, words in _questions(claim):
        sides = tuple(Side.parse(text, task, metric, claim.get("data", DATA)) for text in words)
        found.append(_chance(records, sides[0]) if kind == "chance" else _compared(records, kind, sides, claim))
    return found


def _questions(claim: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[str]]]:
    for part in claim.get("parts", [claim]):
        task = part.get("task", claim.get("task"))
        for metric in part.get("metrics", claim.get("metrics", [""])):
            for kind in ("above", "alike", "chance"):
                for words in part.get(kind, []):
                    yield task, metric, kind, [words] if isinstance(words, str) else list(words)


def _compared(records: Means, kind: str, sides: tuple[Side, ...], claim: Mapping[str, Any]) -> Answer:
    one, other, estimate = records.difference(sides[0], sides[1])
    if one is None or other is None or estimate is None:
        lacking = tuple(
            f"{side.task} {side.metric} of {side.name(side.metric)}"
            for side, mean in zip(sides, (one, other), strict=True)
            if mean is None
        )
        return Answer(kind, sides, missing=lacking or ("the same clips and seeds",))
    values = tuple(sum(run.value for run in mean.runs) / len(mean.runs) for mean in (one, other))
    ends = estimate.interval()
    holds = None
    if kind == "alike":
        holds = alike(ends, claim["margin"])
    return Answer(kind, sides, values, ends, estimate.p(), holds, estimate.seeds)


def alike(ends: tuple[float, float], margin: float) -> bool | None:
    """Returns whether a difference with this interval is within the margin, or beyond it; None: that cannot be told."""
    if -margin < ends[0] and ends[1] < margin:
        return True
    return False if ends[0] > margin or ends[1] < -margin else None


def _chance(records: Means, side: Side) -> Answer:
    mean = records.find(side)
    if mean is None or mean.runs[0].chance is None:
        return Answer("chance", (side,), missing=(f"{side.task} {side.metric} of {side.name(side.metric)}",))
    value = sum(run.value for run in mean.runs) / len(mean.runs)
    ends = records.judge.ends(mean)
    holds = None if ends is None else ends[0] <= mean.runs[0].chance <= ends[1]
    return Answer("chance", (side,), (value, mean.runs[0].chance), ends, None, holds, len(mean.runs))


def verdict(found: Sequence[Answer]) -> tuple[str, list[Answer]]:
    """Returns the verdict on a claim, and its answers with corrected p-values."""
    tested = [each.p for each in found if each.kind == "above" and each.p is not None]
    adjusted = iter(holm(tested))
    told = []
    for each in found:
        if each.kind == "above" and each.p is not None:
            p = next(adjusted)
            lower = unit(each.sides[0].metric, each.sides[0].task).lower
            holds = (each.values[0] > each.values[1]) != lower if p < ALPHA and each.seeds >= FEWEST else None
            each = Answer(each.kind, each.sides, each.values, each.ends, p, holds, each.seeds)
        told.append(each)
    if any(each.missing for each in told):
        return OPEN, told
    states = [each.holds for each in told]
    if all(states):
        return YES, told
    return (NO if False in states else PART if True in states else NEITHER), told


def text(answer: Answer) -> str:
    """Returns an answer in a line."""
    if answer.missing:
        return f"no records of {', '.join(answer.missing)}"
    first = answer.sides[0]
    how = unit(first.metric, first.task)
    shown = [f"{value * how.factor:.{how.digits}f}" for value in answer.values]
    ends = (
        ""
        if answer.ends is None
        else " [{}]".format(", ".join(f"{v * how.factor:.{how.digits}f}" for v in answer.ends))
    )
    mark = {True: "✓", False: "✗", None: "≈"}[answer.holds]
    metric = f"{first.task} {first.metric}"
    if answer.kind == "chance":
        return f"{mark} {metric}: {first.name(first.metric)} {shown[0]}{ends}, chance {shown[1]}"
    difference = (answer.values[0] - answer.values[1]) * how.factor
    p = "" if answer.p is None else f", p {answer.p:.2g}"
    return (
        f"{mark} {metric}: {first.name(first.metric)} {shown[0]}, {answer.sides[1].name(first.metric)} {shown[1]},"
        f" difference {difference:+.{how.digits}f}{ends}{p}"
    )


def markdown(told: Sequence[Mapping[str, Any]]) -> str:
    """Returns the claims with their answers, by paper, each behind its place there."""
    lines = []
    for paper in dict.fromkeys(each["paper"].partition(", ")[0] for each in told):
        lines += [f"### {paper}", ""]
        for each in told:
            begin, _, place = each["paper"].partition(", ")
            if begin == paper:
                lines.append(f"- {place[0].upper()}{place[1:]}: {each['claim']}. **{each['verdict'].capitalize()}.**")
                lines += [f"    - {line}" for line in each["answers"]]
        lines.append("")
    return "\n".join(lines)


def asked(results: Path) -> list[dict[str, Any]]:
    """Returns every claim with its place, verdict and answers, as the records of a folder give them."""
    records = Means(results)
    told = []
    for claim in yaml.safe_load(CLAIMS.read_text()):
        state, found = verdict(answers(records, claim))
        told.append(
            {"claim": claim["claim"], "paper": claim["paper"], "verdict": state, "answers": list(map(text, found))}
        )
    records.judge.save()
    return told


def main() -> int:
    """Prints the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown")
    options = parser.parse_args()
    try:
        told = asked(options.results)
    except InputError as error:
        sys.exit(str(error))
    sys.stdout.write(
        markdown(told) if options.format == "markdown" else json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

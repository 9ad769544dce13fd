"""Writes docs/study.md: the text of study_page.md.in, with numbers out of the archived records.

    python benchmarks/study_page.py            # from results/study

In the text, ``{{TASK|METRIC|SIDE}}`` is a mean over seeds, ``{{TASK|METRIC|SIDE|interval}}`` its 95 % interval and
``{{TASK|METRIC|SIDE|chance}}`` what chance reaches; ``{{TASK|METRIC|SIDE|SIDE}}`` is a difference with an interval of
its own. Sides and estimator are those of claims.py; ``TASK:DATA`` is a task on another data set. ``{{claims}}`` are all
claims with their verdicts, ``{{hours}}`` the device-hours behind all records and ``{{records}}`` their number.
"""

from __future__ import annotations

import re
from pathlib import Path

import claims

from avbench.errors import InputError
from avbench.launch.cost import spent
from avbench.metrics.units import unit
from avbench.store import index

ROOT = Path(__file__).parents[1]
TEXT, PAGE = Path(__file__).with_suffix(".md.in"), ROOT / "docs" / "study.md"


def page(results: Path) -> str:
    """Returns the page.

    Raises:
        InputError: There is no record for one of its numbers.
    """
    records = claims.Means(results)
    runs = [row.id for row in index.read(results).rows]
    told = {
        "claims": claims.markdown(claims.asked(results)).strip(),
        "hours": f"{spent(results, runs):.1f}",
        "records": f"{len(runs):,}",
    }

    def filled(match: re.Match[str]) -> str:
        return told[match[1]] if match[1] in told else number(records, match[1])

    return re.sub(r"\{\{(.+?)\}\}", filled, TEXT.read_text(encoding="utf-8"))


def number(records: claims.Means, asked: str) -> str:
    """Returns one of the page's numbers.

    Raises:
        InputError: There is no record for it.
    """
    place, metric, *words = asked.split("|")
    task, _, data = place.partition(":")
    asks = [word for word in words if word not in ("interval", "chance")]
    sides = [claims.Side.parse(text, task, metric, data or claims.DATA) for text in asks]
    how = unit(sides[0].metric, task)
    digits = how.digits if how.factor == 1 else 1

    def interval(ends: tuple[float, float]) -> str:
        return "[{}]".format(", ".join(f"{end * how.factor:.{digits}f}" for end in ends))

    if len(sides) == 2:
        *means, estimate = records.difference(sides[0], sides[1])
        ends = estimate and estimate.interval()
    else:
        means = [records.find(sides[0])]
        ends = means[0] and records.judge.ends(means[0])
    if None in means or ends is None:
        raise InputError(f"{TEXT.name}: {{{{{asked}}}}}: found no such records.")
    if "chance" in words:
        chance = means[0] and means[0].runs[0].chance
        if chance is None:
            raise InputError(f"{TEXT.name}: {{{{{asked}}}}}: found no chance of this metric.")
        return f"{chance * how.factor:.{digits}f}"
    values = [sum(run.value for run in mean.runs) / len(mean.runs) * how.factor for mean in means if mean is not None]
    if "interval" in words:
        return interval(ends)
    return f"{values[0]:.{digits}f}" if len(sides) == 1 else f"{values[0] - values[1]:+.{digits}f} {interval(ends)}"


if __name__ == "__main__":
    PAGE.write_text(page(ROOT / "results" / "study"), encoding="utf-8")

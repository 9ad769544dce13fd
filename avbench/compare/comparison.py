"""Compares runs of one task: settings, samples and metrics, the others each with the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from avbench.compare.configuration import UNSHARED
from avbench.compare.outputs import FEW, FEWEST, MANY
from avbench.compare.run import Run
from avbench.compare.terminal import columns
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.metrics import paired
from avbench.metrics.hierarchical import holm
from avbench.running.given import WEIGHTS as GIVEN
from avbench.settings import to_dict

SHORT = 12  # digits shown of a commit or hash


@dataclass(frozen=True)
class MetricPair:
    """One metric of two runs; None where there is none.

    Attributes:
        first: Of the first run.
        second: Of the other.
        paired: The difference over the same samples.
        p_holm: Its p-value, corrected for all tests that the comparison shows; None: it is not among them.
    """

    first: float | None
    second: float | None
    paired: paired.Paired | None = None
    p_holm: float | None = None

    @property
    def difference(self) -> float | None:
        """Second less first."""
        return None if self.first is None or self.second is None else self.second - self.first

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        found: dict[str, Any] = {"first": self.first, "second": self.second, "difference": self.difference}
        if self.paired is not None:
            ends = None if self.paired.low is None else [self.paired.low, self.paired.high]
            found |= {"ci95": ends, "p": self.paired.p, "p_holm": self.p_holm, "p_flips": self.paired.p_flips}
        return found


@dataclass(frozen=True)
class RunPair:
    """The first run and another.

    Attributes:
        first: The one.
        second: The other, whose difference to the first is shown.
        n: Samples that the values are of; None: of other ones in each, so that they do not compare.
        ids_sha256: The hash of their sorted ids; None likewise.
        rows: Metric to values.
        left_out: Metrics that cannot be computed for the samples in common.
    """

    first: Run
    second: Run
    n: int | None
    ids_sha256: str | None
    rows: dict[str, MetricPair]
    left_out: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[str]:
        """The metrics that the tables of the task show; all of them where it names none."""
        last = columns(self.first.record["task"])
        known = [name for name in self.rows if name not in self.left_out]
        shown = [name for name in known if name.rpartition("/")[2] in last]
        parts = [name.rpartition("/")[0] for name in shown]
        places = {
            name: (parts.index(part), last.index(name.rpartition("/")[2]))
            for name, part in zip(shown, parts, strict=True)
        }
        return sorted(shown, key=lambda name: places[name]) or known

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {
            "first": self.first.id,
            "second": self.second.id,
            "n": self.n,
            "ids_sha256": self.ids_sha256,
            "metrics": {name: row.to_dict() for name, row in self.rows.items()},
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        runs: As given.
        config: Setting to its value in each run, where these differ.
        pairs: The first with each of the others.
        warnings: What makes numbers hard to compare, a line each.
        resamples: Of the intervals.
    """

    runs: list[Run]
    config: dict[str, list[Any]]
    pairs: list[RunPair]
    warnings: list[str]
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        shown = ("id", "method", "task", "weights", "data", "split", "seed", "n", "ids_sha256")
        return {
            "runs": [{key: run.record.get(key) for key in shown} for run in self.runs],
            "config": self.config,
            "resamples": self.resamples,
            "comparisons": [pair.to_dict() for pair in self.pairs],
            "warnings": self.warnings,
        }


def compare(runs: Sequence[Run], *, common_ids: bool = False, resamples: int = 1000) -> Comparison:
    """Compares runs with the first of them.

    Args:
        runs: Two or more, of one task.
        common_ids: Compute all metrics again for the samples that all runs judged.
        resamples: Of the paired bootstrap.

    Raises:
        InputError: Fewer than two runs, other tasks, no samples in common, or outputs that are gone.
    """
    if len(runs) < 2:
        raise InputError(
            f"compare: found {len(runs) or 'no'} run{'s' * (not runs)}, valid: 2 or more; see: avbench list runs."
        )
    first, *others = runs
    for run in others:
        if run.record["task"] != first.record["task"]:
            raise InputError(
                f"runs {first.id} and {run.id}: found tasks {first.record['task']} and {run.record['task']}, valid: the"
                " same."
            )
    warnings = [text for run in others for text in _warnings(first, run)]
    if any(run.archived is not None for run in runs):
        warnings.append(
            f"An archive keeps {FEW} resamples of metrics that are no means, such as mAP ({FEWEST} of more than {MANY}"
            " samples)."
        )
    judged: list[str] | None = None
    if common_ids:
        shared = set(first.ids).intersection(*(first.shared(run) for run in others))
        if not shared:
            raise InputError(f"--common-ids: found no sample that all {len(runs)} runs judged, valid: one or more.")
        judged = [name for name in first.ids if name in shared]
    else:
        warnings += [_other_ids(first, run) for run in others if _differ(first, run)]
    pairs = [
        RunPair(first, run, None, None, _recorded(first, run))
        if judged is None and _differ(first, run)
        else _pair(first, run, judged or _order(first, run), resamples, warnings)
        for run in others
    ]
    return Comparison(list(runs), settings([run.record for run in runs]), _corrected(pairs), warnings, resamples)


def _order(first: Run, second: Run) -> list[str]:
    """Returns the first run's samples in its order, or as archives have them."""
    return sorted(first.ids) if second.archived is not None else first.ids


def _corrected(pairs: Sequence[RunPair]) -> list[RunPair]:
    """Returns pairs whose p-values hold for all metrics shown and all runs together."""
    tests = [
        (i, name, each.p)
        for i, pair in enumerate(pairs)
        for name in pair.shown
        if (each := pair.rows[name].paired) is not None and each.p is not None
    ]
    adjusted = holm([p for _, _, p in tests])
    found = {(i, name): p for (i, name, _), p in zip(tests, adjusted, strict=True)}
    return [
        replace(pair, rows={name: replace(row, p_holm=found.get((i, name))) for name, row in pair.rows.items()})
        for i, pair in enumerate(pairs)
    ]


def settings(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the settings in which records differ: dotted key to one value a record, None where it has none."""
    flat = []
    for record in records:
        facts = {"data.name": record.get("data"), "data.evaluated": record.get("split")}
        code = {"commit": record.get("git", {}).get("commit"), "code": record.get("code_sha256")}
        short = {key: value and value[:SHORT] for key, value in code.items()}
        flat.append({**_flat(record["config"]), **facts, **short})
    keys = dict.fromkeys(key for each in flat for key in each)
    found = {key: [each.get(key) for each in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


def _differ(first: Run, second: Run) -> bool:
    return first.clips != second.clips


def _other_ids(first: Run, second: Run) -> str:
    common = len(first.shared(second))
    return (
        f"{first.id} and {second.id} judge other samples (n = {first.record['n']} and {second.record['n']}, {common} in"
        f" common): their numbers do not compare; avbench compare {first.id} {second.id} --common-ids computes both"
        " again for those in common."
    )


def _warnings(first: Run, second: Run) -> list[str]:
    """Returns what differs beside the samples' ids."""
    one, other, found = first.record, second.record, []
    names = f"{first.id} and {second.id}"
    if one["data"] != other["data"]:
        found.append(f"{names} are on other data sets ({one['data']} and {other['data']}).")
    elif GIVEN in (one.get("weights"), other.get("weights")):
        pass  # of files that others made the ids are known, not the content
    elif not _differ(first, second) and one["data_sha256"] != other["data_sha256"]:
        found.append(f"{names} judge samples of the same ids and of other content, or prepared in another way.")
    options = [_flat(to_dict(run.options, identity_only=True)) for run in (first, second)]
    for key in options[0]:
        values = [each.get(key) for each in options]
        if values[0] != values[1] and f"task.{key}" not in UNSHARED:
            found.append(f"{names} have other options of the task (task.{key}: {values[0]} and {values[1]}).")
    return found


def _recorded(first: Run, second: Run) -> dict[str, MetricPair]:
    one, other = first.record["metrics"], second.record["metrics"]
    return {name: MetricPair(one.get(name), other.get(name)) for name in dict.fromkeys((*one, *other))}


def _pair(first: Run, second: Run, ids: list[str], resamples: int, warnings: list[str]) -> RunPair:
    """Compares two runs on samples that both judged; what both records say of exactly these is taken from there."""
    evidence = [run.evidence(ids) for run in (first, second)]
    whole = [len(ids) == run.record["n"] for run in (first, second)]
    values = [
        run.record["metrics"] if complete else each.values
        for run, each, complete in zip((first, second), evidence, whole, strict=True)
    ]
    found: dict[str, paired.Paired] = {}
    if np.array_equal(evidence[0].units, evidence[1].units):
        found = paired.compare(evidence[1], evidence[0], resamples=resamples)
    else:
        warnings.append(f"{first.id} and {second.id} group the same samples in other ways: no paired statistics.")
    recorded = dict.fromkeys((*first.record["metrics"], *second.record["metrics"]))
    rows = {
        name: MetricPair(values[0].get(name), values[1].get(name), found.get(name))
        for name in recorded
        if name in values[0] or name in values[1]
    }
    left_out = [
        name
        for name in recorded
        if any(name in run.record["metrics"] and name not in v for run, v in zip((first, second), values, strict=True))
    ]
    if not any(each.values for each in evidence) and not all(whole):
        raise InputError(f"--common-ids: task '{first.record['task']}' keeps nothing by sample here, valid: without.")
    return RunPair(first, second, len(ids), hash_ids(ids), rows, left_out)

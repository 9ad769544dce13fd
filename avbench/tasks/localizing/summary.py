"""From per-sample outputs of localization to metrics and what their intervals are resampled from.

Every metric is computed from the outputs alone, so that it can be computed again for fewer samples. ADE20K pools pixels
over samples and is the exception: it has one score a class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.metrics import bootstrap
from avbench.metrics import localization as loc
from avbench.metrics import segmentation as seg
from avbench.metrics.bootstrap import estimates
from avbench.metrics.evidence import Evidence, Mean
from avbench.metrics.localization import Float64
from avbench.metrics.units import unit
from avbench.tasks.localizing.scores import MEASURES, RIGHT, key
from avbench.tasks.localizing.strata import STRATA, strata

Statistic = Callable[[npt.NDArray[Any]], Float64]  # (r, groups) indices of groups -> (r,)
MEANS: dict[str, tuple[str, Callable[[Float64], Float64]]] = {
    "cIoU@0.5": ("cIoU", loc.hits),
    "AUC": ("cIoU", loc.areas),
    "cIoU_adaptive@0.5": ("cIoU_adaptive", loc.hits),
    "AUC_adaptive": ("cIoU_adaptive", loc.areas),
    "AP": ("AP", np.asarray),
    "IoU": ("IoU", np.asarray),
    "peak": ("peak", np.asarray),
    "mIoU": ("avs_iou", np.asarray),
    "mIoU_adaptive": ("avs_iou_adaptive", np.asarray),
}
#: Both sources of a picture (IS3): the metrics of :data:`MEANS` of the worse of them.
OF_PICTURES = {
    "IIoU@0.5": "cIoU@0.5",
    "IAUC": "AUC",
    "IIoU_adaptive@0.5": "cIoU_adaptive@0.5",
    "IAUC_adaptive": "AUC_adaptive",
}
#: What the metrics whose intervals are computed begin with, where it is not the metric itself.
COMPARED = tuple(f"{name}/" for name in ("wrong_audio", "gain", *STRATA))
_OF_STRATA = (RIGHT, "wrong_audio", "random")  # rows that are scored in each stratum: for the gain, and for chance


@dataclass(frozen=True)
class FScore:
    """How AVSBench's F-score is taken; see :func:`avbench.metrics.segmentation.f_score`."""

    form: seg.FScoreForm = "whole_set"
    batch: int = 4


def statistics(
    outputs: Mapping[str, npt.NDArray[Any]], f_score: FScore | None = None
) -> tuple[int, dict[str, Statistic]]:
    """Returns how every metric is computed from chosen groups of samples, for its value and for its interval.

    A group is what was not drawn independently: the frames of one clip, the sources of one picture.

    Args:
        outputs: The measures, with ``group`` and ``positive`` (n,).
        f_score: How the F-score is taken.

    Returns:
        The number of groups, and metric to a function of (r, groups) indices of groups. ``gain/X`` is X of the right
        sound minus X of the wrong one.
    """
    groups, found = _found(outputs, f_score or FScore())
    found = {name: _Remembered(statistic) for name, statistic in found.items()}
    return groups, {**found, **gains(found)}


def evidence(outputs: Mapping[str, npt.NDArray[Any]], f_score: FScore | None = None) -> Evidence:
    """Returns what every metric is made of, group by group; see :class:`avbench.metrics.evidence.Evidence`.

    Args:
        outputs: As in :func:`statistics`; where they hold no measures (ADE20K), there are no metrics.
        f_score: How the F-score is taken.
    """
    groups, single = _found(outputs, f_score or FScore())
    means = {name: each for name, each in single.items() if isinstance(each, Mean)}
    pairs = {name: (means[name], means.get(control(name, "wrong_audio"))) for name in means}
    remembered: dict[str, Statistic] = {name: _Remembered(statistic) for name, statistic in single.items()}
    everything = {**remembered, **gains(remembered)}
    means |= {control(name, "gain"): own.less(wrong) for name, (own, wrong) in pairs.items() if wrong is not None}
    others = {name: statistic for name, statistic in everything.items() if name not in means}

    def draw(resamples: int, seed: int) -> dict[str, Float64]:
        return estimates(np.arange(groups), others, resamples=resamples, seed=seed) if others else {}

    names = np.asarray(outputs["group"])
    units = names[np.sort(np.unique(names, return_index=True)[1])]
    return Evidence(units, kept(values(groups, everything)), kept(means), draw)


def _found(outputs: Mapping[str, npt.NDArray[Any]], f_score: FScore) -> tuple[int, dict[str, Statistic]]:
    """Returns the number of groups and every statistic but the gains."""
    positive = np.asarray(outputs["positive"], dtype=np.bool_)
    group = _numbered(outputs["group"])
    groups = int(group.max(initial=-1)) + 1
    inside = {stratum: chosen for stratum, chosen in strata(outputs).items() if (chosen & positive).any()}
    found: dict[str, Statistic] = {}
    for row in _rows(outputs):
        for name, (measure, share) in MEANS.items():
            if key(row, measure) in outputs:
                shares = share(outputs[key(row, measure)])
                found[key(row, name)] = _mean(shares, positive, group, groups)
                for stratum, chosen in inside.items() if row in _OF_STRATA else ():
                    found[key(stratum, key(row, name))] = _mean(shares, positive & chosen, group, groups)
        if key(row, "cIoU_adaptive") in outputs:
            for name, single in OF_PICTURES.items():
                measure, share = MEANS[single]
                worst = loc.group_minimum(outputs[key(row, measure)], group)
                found[key(row, name)] = _mean(share(worst), np.ones(groups, np.bool_), None, groups)
        if key(row, "F_curve") in outputs:
            found[key(row, "F")] = _f(outputs[key(row, "F_curve")], group, groups, f_score)
        if key(row, "confidence") in outputs:
            arguments = outputs[key(row, "cIoU")], outputs[key(row, "confidence")], positive
            for name, field in (("AP_extended", "ap"), ("max_F1", "max_f1")):
                found[key(row, name)] = _extended(*arguments, field, group)
            found[key(row, "LocAcc")] = found[key(row, "cIoU@0.5")]
    return groups, found


def gains(found: Mapping[str, Statistic]) -> dict[str, Statistic]:
    """Returns the differences of the right sound's metrics and the wrong one's, on the same resamples."""

    def difference(right: Statistic, wrong: Statistic) -> Statistic:
        return lambda index: right(index) - wrong(index)

    pairs = {name: control(name, "wrong_audio") for name in found}
    return {control(a, "gain"): difference(found[a], found[b]) for a, b in pairs.items() if b in found}


def control(name: str, row: str) -> str:
    """Returns what a metric of the right sound's maps is called in another row; "" of a metric of another row.

    ``small/AUC`` is ``small/gain/AUC`` there: strata come first.
    """
    stratum, _, metric = name.rpartition("/")
    return key(stratum, key(row, metric)) if stratum in ("", *STRATA) else ""


def kept(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metrics that a record has: of strata those of the right sound, and its gain."""
    wanted = ("gain", "")
    return {
        name: each
        for name, each in found.items()
        if name.partition("/")[0] not in STRATA or name.partition("/")[2].rpartition("/")[0] in wanted
    }


def class_statistics(scores: Mapping[str, Float64]) -> tuple[int, dict[str, Statistic]]:
    """Returns the same for scores that are already one a class (ADE20K)."""
    classes = len(next(iter(scores.values())))
    whole = np.ones(classes, np.bool_)
    found = {name: _mean(values, whole, None, classes) for name, values in scores.items()}
    return classes, {**found, **gains(found)}


def values(groups: int, found: Mapping[str, Statistic]) -> dict[str, float]:
    """Returns every metric over all groups."""
    everything = np.arange(groups)[None]
    return {name: float(statistic(everything)[0]) for name, statistic in found.items()}


def intervals(
    groups: int, found: Mapping[str, Statistic], *, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Returns 95 % intervals over groups: Wilson's of shares of samples, percentiles of the bootstrap of the others.

    Args:
        groups: How many there are.
        found: Metric to statistic, as :func:`statistics` gives them. Differences (``gain/``) are no shares.
        resamples: How many; none gives no intervals.
        seed: Seed of the draws.
    """
    if resamples == 0:
        return {}
    shares = {
        name: each.statistic.interval()
        for name, each in found.items()
        if isinstance(each, _Remembered) and isinstance(each.statistic, Mean) and unit(name).share
    }
    others = {name: statistic for name, statistic in found.items() if name not in shares}
    drawn = bootstrap.intervals(np.arange(groups), others, resamples=resamples, seed=seed) if others else {}
    ends = {**drawn, **shares}
    return {name: pair for name in found if (pair := ends[name]) is not None}


def summarise(outputs: Mapping[str, npt.NDArray[Any]], f_score: FScore | None = None) -> dict[str, float]:
    """Returns every metric from per-sample outputs, of all samples or of some: take the same rows of each array."""
    return kept(values(*statistics(outputs, f_score)))


def _numbered(names: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Returns the number of each name, counted as they first appear."""
    _, first, index = np.unique(names, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index])


class _Remembered:
    """A statistic that keeps its last answer: differences ask for what was just computed."""

    def __init__(self, statistic: Statistic) -> None:
        self.statistic = statistic
        self._last: tuple[npt.NDArray[Any] | None, Float64] = (None, np.zeros(0))

    def __call__(self, index: npt.NDArray[Any]) -> Float64:
        if self._last[0] is not index:
            self._last = (index, self.statistic(index))
        return self._last[1]


def _rows(outputs: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    known = {measure for measures in MEASURES.values() for measure in measures}
    return list(dict.fromkeys(key.rpartition("/")[0] for key in outputs if key.rpartition("/")[2] in known))


def _mean(shares: Float64, chosen: npt.NDArray[np.bool_], group: npt.NDArray[np.int64] | None, groups: int) -> Mean:
    """The mean over the chosen samples of some groups; 0 of none. Without ``group``, each sample is its own."""
    if group is None:
        group = np.arange(groups)
    weights = np.where(chosen, shares, 0.0), chosen.astype(np.float64)
    totals, counts = (np.bincount(group, each, groups).astype(np.float64, copy=False) for each in weights)
    return Mean(totals, counts)


def _f(curves: Float64, group: npt.NDArray[np.int64], groups: int, f_score: FScore) -> Statistic:
    members = _members(group, groups)
    kept = ~np.isnan(curves[:, 0])
    totals = np.zeros((groups, curves.shape[1]))
    np.add.at(totals, group[kept], curves[kept])
    counts = np.bincount(group[kept], minlength=groups).astype(np.float64)

    def statistic(index: npt.NDArray[Any]) -> Float64:
        if f_score.form == "whole_set":
            # Sums of curves by how often each group was drawn: the curves themselves are not copied.
            drawn = np.stack([np.bincount(row, minlength=groups) for row in index]).astype(np.float64)
            return np.asarray((drawn @ totals).max(axis=1) / np.maximum(drawn @ counts, 1))
        rows = (_expanded(row, members) for row in index)
        return np.array([seg.f_score(curves[row], form=f_score.form, batch=f_score.batch) for row in rows])

    return statistic


def _extended(
    cious: Float64,
    confidences: Float64,
    positive: npt.NDArray[np.bool_],
    field: str,
    group: npt.NDArray[np.int64],
) -> Statistic:
    members = _members(group, int(group.max()) + 1)

    def statistic(index: npt.NDArray[Any]) -> Float64:
        rows = (_expanded(row, members) for row in index)
        return np.array([getattr(loc.extended(cious[r], confidences[r], positive[r]), field) for r in rows])

    return statistic


def _members(group: npt.NDArray[np.int64], groups: int) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(group, kind="stable")
    return np.split(order, np.searchsorted(group[order], np.arange(1, groups)))


def _expanded(row: npt.NDArray[Any], members: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([members[each] for each in row])

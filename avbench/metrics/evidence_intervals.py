"""The 95 % intervals of whatever has evidence: Wilson's of shares, percentiles of the bootstrap of all else."""

from __future__ import annotations

import numpy as np

from avbench.metrics import bootstrap
from avbench.metrics.evidence import Evidence
from avbench.metrics.units import unit


def intervals(evidence: Evidence, task: str, *, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Returns the interval of each metric that has one.

    Args:
        evidence: What the metrics are made of.
        task: Whose metrics they are: its card says which are shares.
        resamples: Of the bootstrap; none gives no intervals at all.
        seed: Of its draws.
    """
    if resamples == 0:
        return {}
    found: dict[str, tuple[float, float]] = {}
    for name, drawn in evidence.estimates(resamples, seed).items():
        mean = evidence.means.get(name)
        usual = drawn[np.isfinite(drawn)]
        if mean is not None and unit(name, task).share:
            wilson = mean.interval()
            found |= {} if wilson is None else {name: wilson}
        elif len(usual):
            found[name] = bootstrap.ends(usual)
    return found

"""Two models together: the mean of their probabilities (paper Table 1)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avbench import registry
from avbench.compare.configuration import clips
from avbench.compare.outputs import per_sample
from avbench.errors import InputError
from avbench.metrics.evidence import of_scores
from avbench.store.rows import Row

SEEDS = 5  # runs of each model that are read, at most


def ensemble(results: Path, audio: Sequence[Row], visual: Sequence[Row], metric: str) -> list[float]:
    """Returns a metric of two models together, seed by seed: of the mean of their probabilities (paper Table 1).

    Args:
        results: The results folder.
        audio: Runs of a model of sound.
        visual: Runs of a model of pictures.
        metric: Such as ``mAP``.
    """
    from avbench.tasks.classification import ensemble as mean

    found = []
    others = {record.seed: record for record in visual}
    for record in audio[:SEEDS]:
        other = others.get(record.seed)
        if other is None or clips(other) != clips(record):
            continue
        with contextlib.suppress(InputError, KeyError):
            pair = [per_sample(results, each.id, f"{side}/x") for each, side in ((record, "audio"), (other, "visual"))]
            if np.array_equal(pair[0]["id"], pair[1]["id"]):
                scores = mean(
                    *(
                        registry.find("task", each.task).load().TASK.probabilities(outputs, side)
                        for each, outputs, side in zip((record, other), pair, ("audio", "visual"), strict=True)
                    )
                )
                found.append(of_scores(pair[0]["id"], scores, pair[0]["target"]).values[metric])
    return found

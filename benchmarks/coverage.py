"""How often 95 % intervals hold the truth, and how often equal models are told apart: simulation of the estimator.

    python benchmarks/coverage.py [--part coverage|differences|tables|power ...] [--repeats 2000] [--tables 400]

A model's hit on a clip: whether seed effect + clip effect + an effect of the two together exceeds a bound, all normal.
The truth, the share of hits over all seeds and clips, is then known. ``seeds vary`` gives seeds a standard deviation of
about five points, else they have none. Numbers are shares in percent; those of n = 2,000 repeats are known to half a
point, of 400 tables to one.

Beside the estimator (avbench.metrics.hierarchical): percentiles of a bootstrap that draws seeds and clips, and one that
draws clips alone.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from avbench.compare.outputs import Measured, Ran
from avbench.metrics import bootstrap, evidence, hierarchical
from avbench.metrics.hierarchical import Estimate, Resampled
from avbench.report import ranking
from avbench.report.ranking import Judge, Ranked, judged
from avbench.rng import numpy_stream

RESAMPLES = 1000
SEEDS, CLIPS = (2, 3, 5), (50, 200, 500, 2000)
VARY = {"seeds alike": 0.0, "seeds vary": 0.2}
OWN = {"clips decide": 0.3, "": 1.0, "seed and clip decide": 3.0}  # how much is particular to a seed on a clip
RATES = (0.05, 0.3)  # of hits
MODELS, COLUMNS = 6, (0.1, 0.3, 0.5)
EMPTY: dict[str, Any] = {}


def resamples(n: int) -> Any:
    """Returns how often each clip is drawn, (R, n)."""
    found = np.empty((RESAMPLES, n), np.float32)
    for part, index in bootstrap.chunks(n, RESAMPLES, 0):
        rows = len(index)
        counts = np.bincount((index + np.arange(rows)[:, None] * n).ravel(), minlength=index.size)
        found[part] = counts.reshape(rows, n)
    return found / n


def latent(draw: Any, models: int, seeds: int, n: int, vary: float, own: float = 1.0) -> Any:
    """Returns what hits are decided by, (models, seeds, n), of variance 1; clips are the same of all models.

    Args:
        draw: A generator.
        models: How many.
        seeds: Of each.
        n: Clips.
        vary: Standard deviation of the seeds' effect.
        own: Of that of a seed on a clip; the clips' is 1.
    """
    found = draw.standard_normal((models, seeds, n), np.float32) * own
    found += draw.standard_normal((models, seeds, 1), np.float32) * vary * np.sqrt(1 + own**2)
    found += draw.standard_normal((1, 1, n), np.float32)
    return found / np.sqrt((1 + own**2) * (1 + vary**2))


def hits(values: Any, rate: float) -> Any:
    """Returns which values of variance 1 are hits, at a rate."""
    return (values > statistics.NormalDist().inv_cdf(1 - rate)).astype(np.float32)


def sample(values: Any, weights: Any) -> Resampled:
    """Returns hits (S, n) as they are tested."""
    drawn = (values @ weights.T).astype(np.float64)
    return Resampled(tuple(range(len(values))), values.mean(axis=1, dtype=np.float64), drawn, values.shape[1])


def percentiles(own: Resampled, draw: Any, *, seeds: bool) -> tuple[float, float]:
    """Returns the percentiles of drawing clips, and seeds where wanted."""
    count = len(own.seeds)
    if not seeds:
        return bootstrap.ends(own.drawn.mean(axis=0))
    chosen = draw.integers(count, size=(count, own.drawn.shape[1]))
    return bootstrap.ends(np.take_along_axis(own.drawn, chosen, axis=0).mean(axis=0))


def coverage(repeats: int) -> Iterator[list[str]]:
    """Yields how often intervals of a mean over seeds hold the truth."""
    yield ["n", "seeds", "rate", "setting", "avbench", "seeds and clips", "clips alone"]
    for n, rate in itertools.product(CLIPS, RATES):
        weights = resamples(n)
        for seeds, (name, vary) in itertools.product(SEEDS, VARY.items()):
            draw = numpy_stream(0, "coverage", n, seeds, round(1000 * vary), round(100 * rate))
            held = np.zeros(3)
            for _ in range(repeats):
                own = sample(hits(latent(draw, 1, seeds, n, vary), rate)[0], weights)
                ends = [hierarchical.mean(own).interval(share=True)]
                ends += [percentiles(own, draw, seeds=both) for both in (True, False)]
                held += [low <= rate <= high for low, high in ends]
            yield [f"{n:,}", str(seeds), f"{rate:.0%}", name, *(f"{100 * each / repeats:.1f}" for each in held)]


def differences(repeats: int) -> Iterator[list[str]]:
    """Yields how often intervals of the difference of two equal models hold 0: of hits and of mAP."""
    yield ["metric", "n", "seeds", "setting", "avbench", "seeds and clips", "clips alone"]
    for n, seeds in itertools.product(CLIPS, SEEDS):
        weights = resamples(n)
        for (name, vary), (more, own) in itertools.product(VARY.items(), OWN.items()):
            draw = numpy_stream(0, "differences", n, seeds, round(1000 * vary), round(100 * own))
            held = np.zeros(3)
            for _ in range(repeats):
                found = hits(latent(draw, 2, seeds, n, vary, own), 0.3)
                held += _hold(sample(found[0] - found[1], weights), draw)
            words = f"{name}, {more}" if more else name
            yield ["hits", f"{n:,}", str(seeds), words, *(f"{100 * each / repeats:.1f}" for each in held)]
    for n, seeds, (name, vary) in itertools.product((50, 200), SEEDS, VARY.items()):
        draw = numpy_stream(0, "differences of mAP", n, seeds, round(1000 * vary))
        held, few = np.zeros(3), max(1, repeats // 5)
        for _ in range(few):
            held += _hold(_of_map(draw, seeds, n, vary), draw)
        yield ["mAP", f"{n:,}", str(seeds), name, *(f"{100 * each / few:.1f}" for each in held)]


def _hold(own: Resampled, draw: Any) -> Any:
    ends = [hierarchical.mean(own).interval(), *(percentiles(own, draw, seeds=both) for both in (True, False))]
    return np.array([low <= 0 <= high for low, high in ends])


def _of_map(draw: Any, seeds: int, n: int, vary: float) -> Resampled:
    """Returns the difference in mAP of two equally good classifiers of five classes, on 100 resamples."""
    target = np.arange(n) % 5
    hard = draw.standard_normal((n, 5))
    values, drawn = [], []
    for _ in range(seeds):
        pair = []
        for _ in range(2):
            skill = 1.5 * np.exp(vary * draw.standard_normal())
            scores = skill * np.eye(5)[target] + hard + draw.standard_normal((n, 5))
            found = evidence.of_scores(np.arange(n), scores, target)
            pair.append((found.values["mAP"], found.draw(100, 0)["mAP"]))
        values.append(pair[0][0] - pair[1][0])
        drawn.append(pair[0][1] - pair[1][1])
    return Resampled(tuple(range(seeds)), np.array(values), np.stack(drawn), n)


class Simulated(Judge):
    """Judges outputs that are simulated: (columns, models, S, n)."""

    def __init__(self, outputs: Any, weights: Any) -> None:
        self.samples = [[sample(model, weights) for model in column] for column in outputs]

    def at_chance(self, measured: Measured) -> bool:
        """Nothing is."""
        return False

    def difference(self, first: Measured, second: Measured) -> Estimate:
        """Returns the difference of two models in a column."""
        one, other = (map(int, each.metric.split()) for each in (first, second))
        (column, model), (_, against) = one, other
        return hierarchical.difference(self.samples[column][model], self.samples[column][against])

    def columns(self) -> Any:
        """Returns the columns as they are judged."""
        return [
            (True, [self._entry(c, m, float(own.values.mean())) for m, own in enumerate(column)])
            for c, column in enumerate(self.samples)
        ]

    def _entry(self, column: int, model: int, mean: float) -> Ranked[tuple[int, int]]:
        name = f"{column} {model}"
        runs = tuple(Ran(f"{name} {seed}", "", seed, mean) for seed in self.samples[column][model].seeds)
        return Ranked((column, model), mean, Measured("", name, EMPTY, "", runs))


def tables(repeats: int) -> Iterator[list[str]]:
    """Yields how many tables of equal models have a cell that is separated from the best by mistake."""
    yield [
        "n",
        "seeds",
        "setting",
        "avbench",
        "corrected for those with the best alone",
        "p uncorrected",
        "clips alone",
    ]
    ranking.FEWEST_SEEDS = 2  # to see why tables do not test two
    for n, seeds, (name, vary) in itertools.product((50, 200, 1000), SEEDS, VARY.items()):
        weights = resamples(n)
        draw = numpy_stream(0, "tables", n, seeds, round(1000 * vary))
        mistaken = np.zeros(4)
        for _ in range(repeats):
            values = latent(draw, MODELS, seeds, n, vary)
            judge = Simulated([hits(values, rate) for rate in COLUMNS], weights)
            verdicts = [v for v in judged(judge.columns(), judge).verdicts.values() if v.p is not None]
            ps = [v.p for v in verdicts if v.p is not None]
            found = [any(not v.tied for v in verdicts), min([1.0, *hierarchical.holm(ps)]) <= ranking.ALPHA]
            mistaken += [*found, min([1.0, *ps]) <= ranking.ALPHA, _clips_alone(judge)]
        yield [f"{n:,}", str(seeds), name, *(f"{100 * each / repeats:.1f}" for each in mistaken)]


def _clips_alone(judge: Simulated) -> bool:
    """Tells whether any 95 % interval over clips of a difference to the best leaves out 0, as marks were before."""
    for column in judge.samples:
        best = max(column, key=lambda own: own.values.mean())
        for own in column:
            low, high = bootstrap.ends((best.drawn - own.drawn).mean(axis=0))
            if own is not best and not low <= 0 <= high:
                return True
    return False


def power(repeats: int) -> Iterator[list[str]]:
    """Yields how often a difference as large as the note says is found, of two models in one column."""
    yield ["n", "seeds", "setting", "smallest difference, points", "found, %"]
    for n, seeds, (name, vary) in itertools.product((200, 1000), (3, 5), VARY.items()):
        weights = resamples(n)
        draw = numpy_stream(0, "power", n, seeds, round(1000 * vary))

        def once(lift: float) -> Estimate:
            values = latent(draw, 2, seeds, n, vary)  # noqa: B023  # called in this turn of the loop alone
            own = [sample(hits(values[i], rate), weights) for i, rate in enumerate((0.3 + lift, 0.3))]  # noqa: B023
            return hierarchical.difference(own[0], own[1])

        size = min(hierarchical.typical([once(0.0) for _ in range(repeats)]).shown(ranking.ALPHA), 0.69)
        found = [p for _ in range(repeats) if (p := once(size).p()) is not None]
        share = sum(p <= ranking.ALPHA for p in found) / repeats
        yield [f"{n:,}", str(seeds), name, f"{100 * size:.1f}", f"{100 * share:.0f}"]


PARTS = {"coverage": coverage, "differences": differences, "tables": tables, "power": power}


def main() -> None:
    """Prints each part as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--tables", type=int, default=400)
    options = parser.parse_args()
    for part in options.part:
        begun = time.perf_counter()
        lines = PARTS[part](options.tables if part == "tables" else options.repeats)
        for i, line in enumerate(lines):
            sys.stdout.write(f"| {' | '.join(line)} |\n")
            if i == 0:
                sys.stdout.write(f"|{' --: |' * len(line)}\n")
            sys.stdout.flush()
        sys.stdout.write(f"\n{part}: {time.perf_counter() - begun:.0f} s\n\n")


if __name__ == "__main__":
    main()

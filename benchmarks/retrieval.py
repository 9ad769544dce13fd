"""Retrieval from features: ``python benchmarks/retrieval.py [--large]``.

Ratios to the plain double loop at 300 clips, then seconds at the size of CAV-MAE Sync's evaluation for every
aggregation. ``--large`` measures 100,000 x 768 instead: minutes, and about 1 GB with the features.
"""

import argparse

from avbench.bench.retrieval import LARGE, Absolute, benchmark, measure
from avbench.bench.timing import table


def show(rows: list[Absolute]) -> None:
    """Prints measurements."""
    for row in rows:
        print(f"{row.name:<36} {row.wall_s:8.2f} s  {row.cpu_s:8.2f} CPU s  +{row.peak_bytes / 1e6:.0f} MB at the peak")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Retrieval from features.")
    parser.add_argument("--large", action="store_true", help="100,000 x 768 with its peak memory; takes minutes")
    if parser.parse_args().large:
        show(measure(LARGE, ("diagonal_mean",)))
    else:
        print(table(benchmark(clips=300)), flush=True)
        show(measure())

"""Retrieval from features: python benchmarks/retrieval.py [--large]; --large takes minutes and 2 GB."""

from __future__ import annotations

import argparse

from avbench.bench.retrieval import Measured, measure_aggregations, measure_large, measure_loop


def show(measured: Measured) -> None:
    """Prints one row."""
    ratio = "" if measured.ratio is None else f"   plain {measured.plain_seconds:8.2f} s   {measured.ratio:8.0f} x"
    print(f"{measured.name:<64} {measured.seconds:8.3f} s{ratio}", flush=True)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="100,000 x 768 as well, with its peak memory")
    if parser.parse_args().large:
        measured, peak = measure_large()
        show(measured)
        print(f"  peak memory on top of the features: {peak / 1e6:.0f} MB")
    show(measure_loop())
    show(measure_loop(clips=40, frames=16, aggregation="max"))
    for measured in measure_aggregations():
        show(measured)


if __name__ == "__main__":
    main()

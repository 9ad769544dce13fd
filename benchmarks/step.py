"""Prints the comparisons of avbench.bench.step: ``python benchmarks/step.py``; minutes, and 6 GB of memory."""

from avbench.bench.step import benchmark
from avbench.bench.timing import table

if __name__ == "__main__":
    print(table(benchmark()))

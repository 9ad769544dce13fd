"""Prints the comparison of avbench.bench.prepare: ``python benchmarks/prepare.py``."""

from avbench.bench.prepare import benchmark
from avbench.bench.timing import table

if __name__ == "__main__":
    print(table(benchmark()))

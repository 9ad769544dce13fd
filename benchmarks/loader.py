"""Prints the comparisons of avbench.bench.loader: ``python benchmarks/loader.py``."""

from avbench.bench.loader import benchmark
from avbench.bench.timing import table

if __name__ == "__main__":
    print(table(benchmark()))

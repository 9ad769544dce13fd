"""Prints the comparisons of avbench.bench.fbank: ``python benchmarks/fbank.py``."""

from avbench.bench.fbank import benchmark
from avbench.bench.timing import table

if __name__ == "__main__":
    print(table(benchmark()))

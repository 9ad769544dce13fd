"""What evaluation costs at full size: ``python benchmarks/evaluation.py [--json FILE]``; a minute or two.

Seconds of retrieval by every aggregation and of mAP with AUC, their limits, and the reference's way beside them.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from avbench.bench.evaluation import benchmark, table
from avbench.files import write_json

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What evaluation costs at full size.")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    costs = benchmark()
    if options.json is not None:
        write_json(options.json, {"costs": [asdict(cost) | {"ratio": cost.ratio} for cost in costs]})
    print(table(costs))

"""The study on the embedded set, part by part: each is one command that can be stopped and typed again.

    python benchmarks/study.py                         # the parts, and what is done of each
    python benchmarks/study.py main --results STUDY    # one of them
    python benchmarks/claims.py --results STUDY        # what the papers claim, and what these records say

``study.yaml`` lists the commands of each part. All write to one results folder and judge the clips of one seed, which
was not looked at while the set and the recipes were made.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

PARTS = Path(__file__).with_name("study.yaml")


def commands(part: dict[str, Any], results: Path) -> list[list[str]]:
    """Returns the commands of a part, as words after ``avbench``."""
    return [[*shlex.split(line), "--results", str(results)] for line in part["commands"]]


def ids(results: Path) -> set[str]:
    """Returns the ids of the records of a results folder."""
    from avbench.store import index

    return {row.id for row in index.read(results).rows}


def main() -> int:
    """Runs a part, or lists them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", help="one of study.yaml; none: list them")
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args()
    parts: dict[str, dict[str, Any]] = yaml.safe_load(PARTS.read_text())
    if options.part is None:
        for name, part in parts.items():
            sys.stdout.write(f"{name:20} {part['shows']}\n")
        return 0
    if options.part not in parts:
        sys.stderr.write(f"part: found '{options.part}', valid: {', '.join(parts)}.\n")
        return 2
    status = 0
    before = ids(options.results)
    for command in commands(parts[options.part], options.results):
        start = time.monotonic()
        status |= subprocess.run([sys.executable, "-m", "avbench", *command], check=False).returncode
        sys.stderr.write(f"avbench {shlex.join(command)}: {(time.monotonic() - start) / 60:.1f} min\n")
    from avbench.launch.cost import spent

    made = ids(options.results) - before
    sys.stderr.write(f"{len(made)} new records, {spent(options.results, made):.2f} device-hours\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())

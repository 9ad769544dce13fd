"""Throughput of every method: ``python benchmarks/methods.py [--methods NAME ...] [--json FILE] [...]``; see --help."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from avbench.bench.methods import Options, benchmark, table
from avbench.errors import AvbenchError
from avbench.files import write_json


@dataclass(frozen=True, kw_only=True)
class Command(Options):
    """Times pretraining steps of every method, each in a process of its own."""

    json: Path | None = None
    """Also write the figures to this file."""


if __name__ == "__main__":
    try:
        command = tyro.cli(Command)
        report = benchmark(command)
        if command.json is not None:
            write_json(command.json, report.to_dict())
        print(table(report))
    except AvbenchError as error:
        sys.stderr.write(f"methods: error: {error}\n")
        sys.exit(error.exit_status)

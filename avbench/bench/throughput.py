"""The figures of methods' throughput, and their tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avbench.bench.kinds import KINDS
from avbench.bench.machine import data_sheet_flops
from avbench.config import Precision


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """One method's figures."""

    method: str
    parameters: int
    batch: int
    forward_flops: float  # of one clip
    step_flops: float  # of one clip, forward and backward
    step_s: float  # median
    fastest_s: float
    slowest_s: float
    cores: float  # CPU seconds a second during the steps; below the threads where other work took its share
    peak_bytes: int  # growth of the process's memory, or the most allocated on the GPU
    matmul_flops: float  # a second: the best product measured in this process
    threads: int
    features_s: float  # median extraction of a batch
    fed_clips_per_s: float  # of steps on clips that the loader reads
    wait_share: float  # of the time of these, waiting for clips
    readers: int  # processes that read them
    spent: Mapping[str, float]  # shares of a step's time by kind of operation

    @property
    def clips_per_s(self) -> float:
        """Clips a second."""
        return self.batch / self.step_s

    @property
    def flops_per_s(self) -> float:
        """Model FLOPs a second."""
        return self.step_flops * self.clips_per_s


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of a run, and what they were measured on."""

    rows: list[Throughput]
    size: str
    kernels: str  # which are used, in words
    precision: Precision
    machine: dict[str, Any]
    versions: dict[str, str]
    load_before: float  # 1-minute load average
    load_after: float

    @property
    def matmul_flops(self) -> float:
        """The machine's peak, FLOP/s: the best product of all processes, since other work only ever slows them."""
        return max(row.matmul_flops for row in self.rows)

    @property
    def data_sheet_flops(self) -> float | None:
        """The GPU's peak by its data sheet, FLOP/s; None for a CPU or an unknown GPU."""
        return data_sheet_flops(self.machine.get("gpu", ""), self.precision)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values: FLOP, seconds, bytes, and utilisation as a fraction."""
        sheet = self.data_sheet_flops
        rows = [
            {
                **dataclasses.asdict(row),
                "clips_per_s": row.clips_per_s,
                "flops_per_s": row.flops_per_s,
                "mfu": row.flops_per_s / self.matmul_flops,
                "mfu_data_sheet": row.flops_per_s / sheet if sheet else None,
            }
            for row in self.rows
        ]
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "rows"}
        return {**plain, "matmul_flops": self.matmul_flops, "data_sheet_flops": sheet, "rows": rows}


def table(report: Report) -> str:
    """Returns the figures as Markdown tables below a line that says what they were measured on."""
    first, sheet = report.rows[0], report.data_sheet_flops
    headers = ["method", "clips/s", "step s", "GFLOP/clip", "GFLOP/s", "MFU %"]
    headers += ["fed clips/s", "wait %", "features/s", "peak GB", "cores"]
    cells: list[list[Any]] = []
    for row in report.rows:
        line = [
            row.method,
            f"{row.clips_per_s:.3g}",
            f"{row.step_s:.3g}",
            f"{row.step_flops / 1e9:.1f}",
            f"{row.flops_per_s / 1e9:.0f}",
            f"{100 * row.flops_per_s / report.matmul_flops:.0f}",
            f"{row.fed_clips_per_s:.3g}",
            f"{100 * row.wait_share:.0f}",
            f"{row.batch / row.features_s:.3g}",
            f"{row.peak_bytes / 1e9:.1f}",
            f"{row.cores:.1f}",
        ]
        if sheet:
            line.insert(headers.index("MFU %") + 1, f"{100 * row.flops_per_s / sheet:.0f}")
        cells.append(line)
    if sheet:
        headers.insert(headers.index("MFU %") + 1, "of data sheet %")
    name = report.machine.get("gpu") or f"{report.machine['processor']}, {first.threads} threads"
    promised = f" ({sheet / 1e9:.0f} by the data sheet)" if sheet else ""
    head = (
        f"{report.size} size, {first.batch} clips per step, {report.precision}, {report.kernels}, {name}; best matrix"
        f" product {report.matmul_flops / 1e9:.0f} GFLOP/s{promised}; load average {report.load_before:.1f} before,"
        f" {report.load_after:.1f} after; {first.readers} processes read clips for the fed steps"
    )
    return f"{head}\n\n{_grid(headers, cells)}\n\n{_spent(report)}"


def _spent(report: Report) -> str:
    """Returns where the time of a step goes, in percent."""
    kinds = [kind for kind in KINDS if any(kind in row.spent for row in report.rows)]
    cells = [[row.method, *(f"{100 * row.spent.get(kind, 0.0):.0f}" for kind in kinds)] for row in report.rows]
    return f"Where a step's time goes, % (torch's profiler)\n\n{_grid(['method', *kinds], cells)}"


def _grid(headers: list[str], cells: list[list[Any]]) -> str:
    from tabulate import tabulate

    right = ("left", *["right"] * (len(headers) - 1))
    return tabulate(cells, headers=headers, tablefmt="github", colalign=right, disable_numparse=True)

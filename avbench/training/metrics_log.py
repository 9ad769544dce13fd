"""The course of training: ``metrics.csv``, and what else it is shown by.

One row every ``log_every`` steps, of means since the row before; columns ``step``, ``epoch``, ``lr``, ``loss``, the
loss parts, ``tuning_loss`` (empty where it was not computed), ``clips_per_s``, ``wall_s`` (of all sessions) and
``data_wait_share`` (share of the step time spent waiting for clips).
"""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from avbench.files import Damaged, set_aside, write_text
from avbench.files.unwritten import writing
from avbench.training.sinks import Row, Sink

log = logging.getLogger("avbench")


class NonFinite(Exception):
    """A step's loss is not a number; holds which step, its values and its clips."""

    def __init__(self, step: int, values: dict[str, float], clips: list[int]) -> None:
        super().__init__(f"step {step}: {values}")
        self.step = step
        self.values = values
        self.clips = clips


class Meter:
    """Sums of loss parts and times since the last row.

    Values stay on their device until :meth:`collect`, so that a GPU need not be waited for at every step.

    Args:
        sums: What :attr:`sums` held when the run was interrupted.
    """

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        self.sums: dict[str, float] = dict(sums or {})
        self._pending: list[tuple[int, list[int], tuple[str, ...], Tensor]] = []

    def add(self, step: int, clips: list[int], values: Mapping[str, Tensor]) -> None:
        """Notes one step: its number, its clips and its ``loss`` and parts, () each.

        Args:
            step: Its number.
            clips: It trained on.
            values: ``loss`` and its parts, () each.
        """
        stacked = torch.stack([value.detach().float() for value in values.values()])
        self._pending.append((step, clips, tuple(values), stacked))

    def add_time(self, seconds: float, waited: float, clips: int) -> None:
        """Notes what the last step took, how much of it waiting for data, and the clips it trained on.

        Args:
            seconds: It took.
            waited: Of these, for data.
            clips: It trained on.
        """
        for key, value in (("seconds", seconds), ("waited", waited), ("clips", clips)):
            self.sums[key] = self.sums.get(key, 0.0) + value

    def collect(self) -> None:
        """Adds up the noted steps.

        Raises:
            NonFinite: The loss of a step is infinite or not a number; the first such step is named.
        """
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        table = torch.stack([stacked for *_, stacked in pending]).tolist()  # one transfer for all steps
        for (step, clips, names, _), row in zip(pending, table, strict=True):
            values = dict(zip(names, row, strict=True))
            if not math.isfinite(values["loss"]):
                raise NonFinite(step, values, clips)
            self.sums["steps"] = self.sums.get("steps", 0) + 1
            for name, value in values.items():
                self.sums[f"sum.{name}"] = self.sums.get(f"sum.{name}", 0.0) + value

    def means(self) -> dict[str, float]:
        """Returns the mean loss and parts since the last row: the loss first, then by name."""
        steps = self.sums.get("steps", 0)
        names = [key.removeprefix("sum.") for key in self.sums if key.startswith("sum.")]
        return {name: self.sums[f"sum.{name}"] / steps for name in sorted(names, key=lambda n: (n != "loss", n))}

    def rates(self) -> dict[str, float]:
        """Returns ``clips_per_s`` and ``data_wait_share`` since the last row."""
        seconds = max(self.sums.get("seconds", 0.0), 1e-9)
        return {
            "clips_per_s": self.sums.get("clips", 0.0) / seconds,
            "data_wait_share": self.sums.get("waited", 0.0) / seconds,
        }

    def reset(self) -> None:
        """Begins a new row."""
        self.sums = {}


class MetricsLog:
    """Appends rows to ``metrics.csv``; a row is one write, so that a kill leaves whole rows.

    Args:
        directory: The run's folder.
        step: Steps done; rows beyond, of a session that was killed after its last checkpoint, are dropped.
        sink: What else takes the rows.
    """

    def __init__(self, directory: Path, *, step: int, sink: Sink | None = None) -> None:
        self.path = directory / "metrics.csv"
        self._columns: list[str] = []
        self._sink = sink
        if self.path.exists():
            self._drop_after(step)

    def _drop_after(self, step: int) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
            header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            set_aside(Damaged(f"{self.path}: is not what was written ({error}).", self.path))
            return
        # A torn last line has no end; where it was cut cannot be told from its fields.
        whole = rows if text.endswith("\n") else rows[:-1]
        kept = [row for row in whole if len(row) == len(header) and row[0].isdecimal() and 0 < int(row[0]) <= step]
        if not kept or header[:1] != ["step"]:
            self.path.unlink()
            return
        self._columns = header
        if len(kept) < len(rows):
            write_text(self.path, "".join(_line(row) for row in [header, *kept]))

    def write(self, row: Row) -> None:
        """Appends one row; the first fixes the columns."""
        lines = ""
        if not self._columns:
            self._columns = list(row)
            lines = _line(self._columns)
        lines += _line([_text(row.get(name)) for name in self._columns])
        with writing(self.path), self.path.open("ab") as handle:  # one write; what a full disk cuts off is an error
            handle.write(lines.encode())
        if self._sink is not None:
            self._sink.write(row)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._sink is not None:
            self._sink.close(failed=kind is not None)


def _line(fields: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(fields)
    return buffer.getvalue()


def _text(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"

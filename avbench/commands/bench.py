"""``avbench bench``: this machine, measured; most of it against the plain way of doing the same."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.bench.methods import Options

METHODS = "methods"
PARTS = ("prepare", "fbank", "loader", "retrieval", "step", METHODS)
Benchmark = Literal["prepare", "fbank", "loader", "retrieval", "step", "methods"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """Times decoding, spectrogram, loader, retrieval and training step against plain versions, and every method."""

    parts: tyro.conf.Positional[tuple[Benchmark, ...]] = ()
    """What to measure; nothing named: all of it (some minutes), or with --device methods, the one part that may run on
    a GPU."""
    device: Literal["cpu", "cuda"] | None = None
    """Of methods: where to compute; the GPU if there is one."""
    size: Literal["base", "small", "tiny"] = "base"
    """Of methods: preset of the model's sizes."""
    batch: int = 0
    """Of methods: clips a step; 0: 4 on a CPU, 64 on a GPU."""
    steps: int = 5
    """Of methods: steps that are timed."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Of methods: arithmetic; auto: bf16 (or fp16) on a GPU, fp32 on a CPU."""
    deterministic: bool = True
    """Of methods: reproducible kernels on a GPU, as training uses them by default."""
    compiled: bool = False
    """Of methods: compile the transformer blocks."""

    def execute(self) -> int:
        """Prints one table a part, as soon as it is measured."""
        from avbench.bench import timing

        options = self._of_methods()
        for part in self.parts or (PARTS if self.device is None else (METHODS,)):
            module = importlib.import_module(f"avbench.bench.{part}")
            table = getattr(module, "table", timing.table)  # of what it compares, unless it has its own
            found = module.benchmark(options) if part == METHODS else module.benchmark()
            sys.stdout.write(f"{part}\n{table(found)}\n\n")
            sys.stdout.flush()
        return 0

    def _of_methods(self) -> Options:
        """Returns what the part ``methods`` is asked for, checked before anything is measured.

        Raises:
            InputError: A value that is not valid, or an option of a part that is not measured.
        """
        from avbench.bench.methods import Options
        from avbench.training.device import resolve_device

        own = [field.name for field in fields(self) if field.name not in ("parts", "device")]
        given = [name for name in ("device", *own) if getattr(self, name) != getattr(Command, name)]
        if given and self.parts and METHODS not in self.parts:
            raise InputError(f"--{given[0]}: not used by {', '.join(self.parts)}; valid with {METHODS}.")
        return Options(device=resolve_device(self.device or "auto"), **{name: getattr(self, name) for name in own})

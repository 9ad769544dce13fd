"""``avbench check``: what is installed here, and whether it works together."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from avbench.errors import InputError
from avbench.running.options import Words
from avbench.store import provenance

MODULES = ("numpy", "torch", "torchvision", "torchaudio", "timm", "av", "pandas", "pyarrow", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Command:
    """Imports every part, and reports versions and hardware; "avbench check encoder FILE.py:Class" checks yours."""

    what: tyro.conf.Positional[tuple[str, ...]] = ()
    """Nothing: the installation; encoder FILE.py:Class or encoder METHOD: an encoder or a method, on a few clips:
    shapes, numbers, batches, repeats, silence, pairs, speed and memory."""
    data: str | None = None
    """Of an encoder: where the clips are from, as for run; without it the embedded set."""
    checkpoint: Path | None = None
    """Of an encoder: its weights."""
    set: Words = ()
    """Of an encoder: its arguments, as encoder.KEY=VALUE, and data.KEY=VALUE; of a method: its settings."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Of an encoder: where to compute."""

    def execute(self) -> int:
        """Prints one line a check; returns 1 when one failed."""
        if self.what:
            return self._encoder()
        failed = 0
        for name in MODULES:
            try:
                module = importlib.import_module(name)
            except (ImportError, OSError) as error:
                failed += 1
                sys.stdout.write(f"FAILED  {name}: {' '.join(str(error).split())}\n")
            else:
                sys.stdout.write(f"ok      {name} {getattr(module, '__version__', '')}\n")
        if failed:
            sys.stdout.write("torch, torchvision and torchaudio must be built for the same CUDA; see pyproject.toml.\n")
            return 1
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        for key, value in provenance.hardware(device).items():
            sys.stdout.write(f"        {key}: {value}\n")
        return 0

    def _encoder(self) -> int:
        from avbench.commands.check_encoder import check_encoder

        if self.what[0] != "encoder" or len(self.what) != 2:
            raise InputError(f"check {' '.join(self.what)}: valid: nothing, encoder FILE.py:Class or encoder METHOD.")
        settings = [text for group in self.set for text in group]
        shared: dict[str, Any] = {"data": self.data, "checkpoint": self.checkpoint, "device": self.device}
        return check_encoder(self.what[1], settings=settings, **shared)

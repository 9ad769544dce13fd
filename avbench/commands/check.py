"""``avbench check``: what is installed here, and whether it works together."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

from avbench.store import provenance

MODULES = ("numpy", "torch", "torchvision", "torchaudio", "timm", "av", "pandas", "pyarrow", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Command:
    """Imports every part, encodes and decodes a clip, and reports versions and hardware."""

    def execute(self) -> int:
        """Prints one line a check; returns 1 when one failed."""
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

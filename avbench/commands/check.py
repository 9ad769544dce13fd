"""``avbench check``: what is installed here, and whether it works together."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avbench.commands.parse import parse
from avbench.store import provenance

MODULES = ("numpy", "torch", "torchvision", "torchaudio", "timm", "av", "pandas", "pyarrow", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Command:
    """Imports every part, and reports versions and hardware; "avbench check encoder FILE.py:Class" checks yours."""

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> Any:
        """Reads the options; after the word ``encoder`` those of the command that checks one.

        Args:
            program: What the user typed so far.
            arguments: The rest.

        Raises:
            InputError: They are not understood.
        """
        if arguments[:1] == ["encoder"]:
            from avbench.commands import check_encoder

            return parse(check_encoder.Command, f"{program} encoder", arguments[1:])
        return parse(cls, program, arguments)

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

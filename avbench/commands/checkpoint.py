"""``avbench checkpoint``: what a weights file is, and from one form into the other."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from avbench.commands.checkpoint_push import Push
from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Identifies a weights file from its keys and shapes."""

    file: tyro.conf.Positional[Path]
    """The weights file (.pth or .safetensors)."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output."""

    def execute(self) -> int:
        """Prints the description."""
        from avbench.training.hub import fetched
        from avbench.training.inspect import describe
        from avbench.training.weights_file import read_checkpoint

        checkpoint = read_checkpoint(fetched(self.file))
        described: dict[str, Any] = {
            "file": str(self.file),
            **asdict(describe(checkpoint.state, checkpoint.metadata)),
            "module_prefix": checkpoint.prefixed,
            "prefix": checkpoint.prefix,
            "training_state": list(checkpoint.others),
        }
        if self.format == "json":
            sys.stdout.write(json.dumps(described, indent=2, default=list) + "\n")
            return 0
        for key, value in described.items():
            if value not in ("", 0, False, {}, (), []):
                text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
                sys.stdout.write(f"{key:<18}{text}\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Import:
    """Turns the authors' weights into a .safetensors file that names its own settings."""

    file: tyro.conf.Positional[Path]
    """The weights file to read."""
    out: Path
    """The file to write (.safetensors)."""
    method: str = ""
    """The method it belongs to; empty: detected from its keys."""

    def execute(self) -> int:
        """Loads strictly, and writes."""
        from avbench.training.checkpoints import build_from_checkpoint
        from avbench.training.export import save_weights

        _check_suffix(self.out, ".safetensors")
        save_weights(self.out, build_from_checkpoint(self.file, method=self.method))
        sys.stdout.write(f"{self.out}\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Export:
    """Writes weights in the authors' format: a bare state dict with the prefix module., bit for bit."""

    file: tyro.conf.Positional[Path]
    """The weights file to read."""
    out: Path
    """The file to write (.pth)."""

    def execute(self) -> int:
        """Reads and writes."""
        from avbench.training.export import export_published
        from avbench.training.weights_file import read_state

        _check_suffix(self.out, ".pth")
        export_published(self.out, read_state(self.file))
        sys.stdout.write(f"{self.out}\n")
        return 0


def _check_suffix(out: Path, suffix: str) -> None:
    if out.suffix != suffix:
        raise InputError(f"--out {out}: valid: a name that ends in {suffix}.")


ACTIONS = {"inspect": Inspect, "import": Import, "export": Export, "push": Push}

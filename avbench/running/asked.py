"""What the user asked for, as typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avbench.config import Precision


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, before anything is looked up."""

    method: str
    task: str = "retrieval"  # empty: pretraining alone
    data: str | None = None
    eval_data: str | None = None
    checkpoint: Path | None = None
    recipe: str = ""
    presets: tuple[str, ...] = ()
    config: Path | None = None
    sets: tuple[str, ...] = ()
    seed: int = 0
    precision: Precision | Literal["auto"] = "fp32"  # auto: by model, on this machine's CPU

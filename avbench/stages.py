"""The work of a run: pretraining, feature extraction, evaluation. Each leaves its output and ``done.json``."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.files import write_json
from avbench.plan import Stage
from avbench.resolve import RunConfig

if TYPE_CHECKING:
    from avbench.methods.base import Method

log = logging.getLogger("avbench")
FEATURE_BATCH = 64  # clips a forward pass in extraction: fills a core's cache at tiny size, fits a GPU at base size


def read_done(stage: Stage) -> dict[str, Any]:
    """Returns what a finished stage says of itself: its key, wall time and figures."""
    done: dict[str, Any] = json.loads((stage.folder / "done.json").read_text(encoding="utf-8"))
    return done


def _finish(stage: Stage, seconds: float, **figures: Any) -> None:
    write_json(stage.folder / "done.json", {"id": stage.id, "key": stage.key, "wall_s": round(seconds, 3), **figures})


def build(config: RunConfig) -> Method:
    """Returns the method with freshly drawn weights, a function of the seed."""
    module = registry.find("method", config.method_name).load()
    method: Method = module.METHOD(config.method, config.model, config.input, seed=config.seed)
    return method

"""``avbench evaluate``: the second half of ``run``, from a checkpoint or from anyone's features file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from avbench.commands.options import ConfigOptions
from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Command(ConfigOptions):
    """Evaluates a checkpoint on data, or a features file (id, audio, visual) on its own."""

    task: str = "retrieval"
    """The task; see: avbench list tasks."""
    method: str | None = None
    """The method the checkpoint belongs to; not needed with --features."""
    features: Path | None = None
    """An .npz with id, audio and visual, from any model."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output."""
    force: bool = False
    """Compute again what is done already."""

    def execute(self) -> int:
        """Evaluates and prints the result."""
        return self._from_features(self.features) if self.features is not None else self._from_checkpoint()

    def _from_features(self, path: Path) -> int:
        from avbench import registry
        from avbench.report.terminal import render_evaluation
        from avbench.resolve import task_options
        from avbench.tasks.base import evaluate_features

        refused = [name for name in ("data", "checkpoint", "method") if getattr(self, name) is not None]
        if refused:
            raise InputError(f"--{refused[0]}: not used with --features; leave one of them out.")
        entry = registry.find("task", self.task)
        options = task_options(self.task, self.config, tuple(text for group in self.set for text in group))
        result = evaluate_features(path, entry.load().TASK, options)
        sys.stdout.write((json.dumps(result, indent=2) if self.format == "json" else render_evaluation(result)) + "\n")
        return 0

    def _from_checkpoint(self) -> int:
        from avbench.commands.run import Command as Run

        if self.checkpoint is None:
            raise InputError("evaluate: found neither --checkpoint nor --features; give one of them.")
        if self.method is None:
            raise InputError("--method: found nothing, valid: the method the checkpoint belongs to.")
        shared: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(ConfigOptions)}
        return Run(method=(self.method,), task=(self.task,), format=self.format, force=self.force, **shared).execute()

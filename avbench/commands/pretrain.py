"""``avbench pretrain``: the first half of ``run``."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from avbench.commands.options import ConfigOptions
from avbench.errors import AvbenchError, InputError


@dataclass(frozen=True, kw_only=True)
class Command(ConfigOptions):
    """Trains a method on the data's training clips and keeps its weights."""

    method: tuple[str, ...]
    """One or more methods; see: avbench list methods."""
    seeds: tuple[int, ...] = (0,)
    """One pretraining for each."""
    dry_run: bool = False
    """Print the plan and write nothing."""
    force: bool = False
    """Train again what is done already."""

    def execute(self) -> int:
        """Trains and prints where the weights are; returns 1 when one failed."""
        from avbench.runner import Execution, Runner
        from avbench.training.device import resolve_device

        if self.checkpoint is not None:
            raise InputError("--checkpoint: pretrain makes weights; to start from a file use --init FILE.")
        requests = self.requests(self.method, ("",), self.seeds)
        runner = Runner(Execution(results=self.results, device=resolve_device(self.device), force=self.force))
        configs = runner.resolve_all(requests)
        if self.dry_run:
            sys.stdout.write(runner.describe(configs, pretraining_only=True) + "\n")
            return 0
        errors = []
        for config in configs:
            try:
                sys.stdout.write(f"weights: {runner.pretrain(config)}\n")
            except InputError:
                raise
            except AvbenchError as error:
                errors.append(f"failed: {config.method_name} seed {config.seed}: {error}\n")
        sys.stderr.write("".join(errors))
        return 1 if errors else 0

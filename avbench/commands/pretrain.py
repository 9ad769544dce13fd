"""``avbench pretrain``: the first half of ``run``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from avbench.commands.launching import LauncherOptions, launch
from avbench.errors import InputError
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    from avbench.running.request import Request
    from avbench.training.group import ProcessGroup


@dataclass(frozen=True, kw_only=True)
class Command(LauncherOptions, ConfigOptions):
    """Trains a method on the data's training clips and keeps its weights."""

    method: tuple[str, ...]
    """One or more methods; see: avbench list methods."""
    seeds: tuple[int, ...] = (0,)
    """One pretraining for each seed."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What each of several processes holds: ddp: the whole model; fsdp: a part of it, for large models."""

    def execute(self) -> int:
        """Trains and prints where the weights are; returns 1 when one failed."""
        from avbench.training.device import resolve_device
        from avbench.training.group import join

        if self.checkpoint is not None:
            raise InputError("--checkpoint: pretrain makes weights; to start from a file use --init FILE.")
        if self.on_cluster:
            return self._submit()
        requests = self.requests(self.method, ("",), self.seeds)
        device = resolve_device(self.device)
        with join(device, self.parallel) as group:
            return self._train(requests, device, group)

    def _submit(self) -> int:
        from avbench.commands import outline

        own = [] if self.parallel == "ddp" else ["--parallel", self.parallel]
        asked = [(self.method, ("",), self.seeds)]
        runner, configs, status = launch(self, self, asked, own, pretraining_only=True)
        if status is not None:
            return status
        if self.dry_run:
            sys.stdout.write(outline.show(runner, configs, pretraining_only=True))
            return 0
        for config in configs:
            sys.stdout.write(f"weights: {runner.pretrain(config)}\n")
        return 0

    def _train(self, requests: list[Request], device: str, group: ProcessGroup) -> int:
        from avbench.commands import outline
        from avbench.running.runner import Execution, Runner, why

        runner = Runner(Execution(results=self.results, device=device, force=self.force, group=group))
        configs = runner.resolve_all(requests, planning=self.dry_run)
        if self.dry_run:
            if group.leads:
                sys.stdout.write(outline.show(runner, configs, pretraining_only=True))
            return 0
        errors = []
        for config in configs:
            try:
                weights = runner.pretrain(config)
                if group.leads:
                    sys.stdout.write(f"weights: {weights}\n")
            except InputError:
                raise
            except Exception as error:
                reason = why(error)
                if reason is None or group.world > 1:  # the others may be amid this training, not at the next
                    raise
                errors.append(f"failed: {config.method_name} seed {config.seed}: {reason}\n")
        sys.stderr.write("".join(errors))
        return 1 if errors else 0

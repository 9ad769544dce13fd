"""``avbench features``: what a checkpoint or an encoder makes of a data set, as a file others can read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import InputError
from avbench.running.options import ConfigOptions, encoder_named


@dataclass(frozen=True, kw_only=True)
class Command(ConfigOptions):
    """Writes id, audio and visual embeddings of every clip, in the manifest's order, as .npz."""

    method: str = ""
    """The method the checkpoint belongs to."""
    encoder: str = ""
    """In place of a method, anybody's encoder: FILE.py:Class, PACKAGE.MODULE:Class, or a name; see: avbench list
    encoders."""
    out: Path
    """The file to write (.npz)."""
    processes: int = 1
    """Processes that extract in parallel, on GPUs one each; the numbers do not depend on it."""

    def execute(self) -> int:
        """Extracts and writes the features."""
        from avbench.running.runner import Execution, Runner
        from avbench.training.device import resolve_device

        if bool(self.method) == bool(self.encoder):
            found = "both" if self.method else "neither"
            raise InputError(f"--method, --encoder: found {found}, valid: one of them.")
        name = encoder_named(self.encoder) if self.encoder else self.method
        if self.checkpoint is None and not self.encoder:  # which may have weights of its own
            raise InputError("--checkpoint: found nothing, valid: a weights file.")
        if self.eval_data is not None:
            raise InputError("--eval-data: not used with features, whose clips are those of --data; leave it out.")
        if self.data is None and self.config is None:
            raise InputError("--data: found nothing, valid: soundshapes, a folder of videos or a manifest.json.")
        if self.out.suffix != ".npz":
            raise InputError(f"--out {self.out}: valid: a name that ends in .npz.")
        (request,) = self.requests((name,), ("class_retrieval",), (0,))
        device = resolve_device(self.device)
        runner = Runner(Execution(results=self.results, device=device, processes=self.processes))
        (config,) = runner.resolve_all([request])
        count = runner.write_features(config, self.out)
        sys.stdout.write(f"{self.out}: {count} clips\n")
        return 0

"""The plain mean of a model's weights over epochs, kept on disk as a sum (docs/protocol/cavmae.md 3.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avbench.errors import InputError
from avbench.files import Damaged, atomic_path, canonical_json
from avbench.training.file_metadata import read_metadata

FILE = "average.safetensors"
_KEY = "avbench"


class WeightAverage:
    """Adds up weights at the end of epochs.

    The sum and the epochs in it are one file, written at once: a run that is killed, resumed before an epoch's end and
    reaches it again finds that epoch in the sum and leaves it as it is.

    Args:
        directory: The run's folder.
        stage: Id of the training; a sum of another is begun anew.
        first: First epoch of the mean, from 1; 0: none is taken.
        last: Last epoch of the mean.
    """

    def __init__(self, directory: Path, stage: str, first: int, last: int) -> None:
        self.path = directory / FILE
        self._stage = stage
        self._wanted = range(first, last + 1) if first else range(0)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs in the sum."""
        metadata = self._metadata()
        return tuple(metadata["epochs"]) if metadata.get("stage") == self._stage else ()

    def check(self) -> None:
        """Checks the sum.

        Raises:
            Damaged: It is not what was written.
        """
        from safetensors.torch import load_file

        told = self._metadata().get("sha256")
        if told is not None and told != digest(load_file(self.path)):  # a version that wrote none is believed
            raise Damaged(f"{self.path}: is not what was written (its hash is another).", self.path)

    def add(self, epoch: int, model: nn.Module) -> None:
        """Adds the weights after ``epoch``, from 1, if they are wanted and not there yet; frozen ones need no mean.

        Left out they stay as they are, bit for bit; a mean of equal numbers may differ from them in the last digit.
        """
        from safetensors.torch import load_file, save_file

        done = self.epochs
        if epoch not in self._wanted or epoch in done:
            return
        before: dict[str, Tensor] = load_file(self.path) if done else {}
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        state = {key: value.detach().cpu() for key, value in model.state_dict().items() if key not in frozen}
        total = {key: (before[key] + value if done else value).contiguous() for key, value in state.items()}
        note = {_KEY: canonical_json({"stage": self._stage, "epochs": [*done, epoch], "sha256": digest(total)})}
        with atomic_path(self.path) as temporary:
            save_file(total, temporary, metadata=note)

    def apply(self, model: nn.Module) -> tuple[int, ...]:
        """Gives a model the mean; where no epoch is in the sum it keeps its weights. Returns the epochs."""
        from safetensors.torch import load_file

        epochs = self.epochs
        if epochs:
            total = load_file(self.path)
            model.load_state_dict(model.state_dict() | {key: value / len(epochs) for key, value in total.items()})
        return epochs

    def _metadata(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            return read_metadata(self.path, _KEY)
        except InputError as error:
            raise Damaged(str(error), self.path) from None


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of tensors by name."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()

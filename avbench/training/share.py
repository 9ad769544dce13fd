"""The clips of a step that one process of a group takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avbench.config import TrainConfig
from avbench.errors import InputError
from avbench.training.group import ProcessGroup


@dataclass(frozen=True)
class Share:
    """Which clips of each step's batch a process computes.

    A step has ``accumulate`` forward passes. Where the clips of a pass must stay together, as they are each other's
    negatives, each process makes some of the passes; otherwise it takes a part of every pass. So the numbers do not
    depend on how many processes there are, rounding aside.

    Attributes:
        batch: Clips of a step, in all processes together.
        accumulate: Forward passes of a step, in all processes together.
        together: Whether a pass is one process's.
        group: The processes.
    """

    batch: int
    accumulate: int
    together: bool
    group: ProcessGroup

    def __post_init__(self) -> None:
        """Checks that the clips can be divided.

        Raises:
            InputError: They cannot.
        """
        world = self.group.world
        if self.together and self.accumulate % world:
            raise InputError(
                f"train.accumulate: found {self.accumulate}, valid for {world} processes with local negatives: a"
                f" multiple of {world} (each pass, of batch_size / accumulate clips, is one process's), or"
                " method.negatives=gathered."
            )
        # A pass that stays together need not be divided: the paper's four of 27 are for one, two or four processes.
        parts, of = (self.accumulate, "") if self.together else (self.accumulate * world, " times processes")
        if self.batch % parts:
            raise InputError(
                f"train.batch_size: found {self.batch}, valid for {world} processes: a multiple of {parts}"
                f" (train.accumulate{of})."
            )

    @classmethod
    def whole(cls, config: TrainConfig) -> Share:
        """Returns the share of a process that trains alone."""
        return cls(config.batch_size, config.accumulate, together=True, group=ProcessGroup())

    @property
    def clips(self) -> int:
        """How many clips of a step are this process's."""
        return self.batch // self.group.world

    @property
    def passes(self) -> int:
        """How many forward passes this process makes in a step."""
        return self.accumulate // self.group.world if self.together else self.accumulate

    def rows(self, number: int) -> slice:
        """Returns which rows of the step's batch this process computes in its pass ``number``."""
        size = self.clips // self.passes
        rank, world = self.group.rank, self.group.world
        start = (rank * self.passes + number if self.together else number * world + rank) * size
        return slice(start, start + size)

    def order(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns this process's clips of an epoch, step after step and pass after pass.

        Args:
            order: All clips of the epoch, (n,); a last batch that is not full is left out.
        """
        steps = order[: len(order) - len(order) % self.batch].reshape(-1, self.batch)
        return np.concatenate([steps[:, self.rows(number)] for number in range(self.passes)], axis=1).reshape(-1)

"""Several processes that train one model: who they are, and what they tell each other.

They are started by torchrun or a scheduler, which names each of them in its environment (RANK, WORLD_SIZE, LOCAL_RANK,
MASTER_ADDR, MASTER_PORT). The process of rank 0 leads: it alone writes.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn

from avbench.config import TrainConfig
from avbench.errors import InputError, RunError

_NAMED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# Longer than a leader may wait for the lock of its folder, or the slowest may read clips.
_PATIENCE = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Group:
    """The processes of one training; by default this one alone.

    Attributes:
        rank: Which of them this is, from 0.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def alone(cls) -> Group:
        """Returns the group of this process only.

        Raises:
            InputError: The environment says that there are others.
        """
        world = os.environ.get("WORLD_SIZE", "1")
        if world != "1":
            raise InputError(
                f"WORLD_SIZE: found {world}, valid here: 1 or unset; what several processes share is 'avbench"
                " pretrain', and any command afterwards uses what it leaves in --results."
            )
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Returns the model so that its backward pass averages gradients over the processes; alone, as it is."""
        if self.world == 1:
            return model
        # A method may leave parameters without gradient (facts/cavmae.md 1.3); they must stay without one.
        parallel: nn.Module = nn.parallel.DistributedDataParallel(
            model, find_unused_parameters=True, broadcast_buffers=False
        )
        return parallel

    def alike(self, value: bool) -> bool:
        """Returns what the leader's value is, in every process."""
        return self.any(value and self.leads)

    def any(self, value: bool) -> bool:
        """Returns whether the value is true in one of the processes."""
        if self.world == 1:
            return value
        flag = torch.tensor([float(value)], device=_device())
        with lost_companion():
            distributed.all_reduce(flag)
        return bool(flag.item())

    def gathered(self, values: list[int]) -> list[int]:
        """Returns the values of all processes, by rank; as many in each."""
        if self.world == 1:
            return values
        parts: list[list[int]] = [[] for _ in range(self.world)]
        with lost_companion():
            distributed.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the means over the processes of values, () each, named alike in all."""
        if self.world == 1:
            return dict(values)
        names = sorted(values)
        stacked = torch.stack([values[name].detach().float() for name in names]).to(_device())
        with lost_companion():
            distributed.all_reduce(stacked)
        means = dict(zip(names, (stacked / self.world).unbind(), strict=True))
        return {name: means[name] for name in values}


@contextlib.contextmanager
def join(device: str) -> Iterator[Group]:
    """Meets the other processes that the environment speaks of, if any.

    Args:
        device: ``cpu`` (they speak by gloo) or ``cuda`` (by NCCL; each takes the GPU of its LOCAL_RANK).

    Yields:
        The group.

    Raises:
        InputError: The environment names some of what is needed, but not all.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if world == "1":
        yield Group()
        return
    missing = [name for name in _NAMED if name not in os.environ]
    if missing or not world.isdigit() or int(world) < 1:
        without = f" and no {', '.join(missing)}" if missing else ""
        raise InputError(
            f"WORLD_SIZE: found {world}{without}, valid: as torchrun sets them (torchrun --nproc-per-node N -m avbench"
            " pretrain ...), or no WORLD_SIZE."
        )
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def lost_companion() -> Iterator[None]:
    """Turns a failure to reach the other processes into one line.

    Raises:
        RunError: The block could not reach them.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo has no error class of its own.
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error) and "Connection" not in str(error):
            raise
        reason = str(error).partition("\n")[0]
        raise RunError(f"another process of this training has ended; its own message says why ({reason}).") from error


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


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
    group: Group

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
        if self.batch % (self.accumulate * world):
            raise InputError(
                f"train.batch_size: found {self.batch}, valid for {world} processes: a multiple of"
                f" {self.accumulate * world} (train.accumulate times processes)."
            )

    @classmethod
    def whole(cls, config: TrainConfig) -> Share:
        """Returns the share of a process that trains alone."""
        return cls(config.batch_size, config.accumulate, together=True, group=Group())

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

"""Several processes that train one model: who they are, and what they tell each other.

They are started by torchrun or a scheduler, which names each of them in its environment (RANK, WORLD_SIZE, LOCAL_RANK,
MASTER_ADDR, MASTER_PORT). The process of rank 0 leads: it alone writes.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from avbench.errors import InputError, RunError

if TYPE_CHECKING:
    from torch import Tensor, nn

Parallel = Literal["ddp", "fsdp"]
_NAMED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_BACKENDS = {"cpu": "gloo", "cuda": "cuda:nccl,cpu:gloo"}
# Longer than a leader may wait for the lock of its folder, or the slowest may read clips.
_PATIENCE = datetime.timedelta(hours=1)


class LostCompanion(RunError):
    """Another process of this training cannot be reached any more."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one training; by default this one alone.

    Attributes:
        rank: Which of them this is, from 0.
        world: How many there are.
        parallel: What each of them holds. ``ddp``: the whole model; ``fsdp``: a part of its parameters, gradients and
            optimiser averages.
    """

    rank: int = 0
    world: int = 1
    parallel: Parallel = "ddp"

    @classmethod
    def alone(cls) -> ProcessGroup:
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

    @property
    def shards(self) -> bool:
        """Whether each process holds a part of the model only."""
        return self.parallel == "fsdp" and self.world > 1

    def wrap(self, model: nn.Module, device: str) -> nn.Module:
        """Returns the model on its device, so that its backward pass averages gradients over the processes."""
        if self.shards:
            from avbench.training.sharded import shard

            return shard(model, device)
        model = model.to(device)
        if self.world == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        from avbench.training.unused import without_gradient

        # A method may leave parameters without gradient; they must stay without one. Those that are known are left out
        # here; where they are not, each step looks for them, which takes time.
        unused = without_gradient(model)
        for name in unused or ():
            model.get_parameter(name).requires_grad_(False)
        return DistributedDataParallel(
            model, find_unused_parameters=unused is None, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def own_gradients(self, parallel: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Lets backward passes of what :meth:`wrap` returned leave gradients to this process, where another follows.

        A divided model averages them in each pass, as whole gradients would not fit.
        """
        if self.world == 1 or self.shards:
            return contextlib.nullcontext()
        waiting: contextlib.AbstractContextManager[None] = parallel.no_sync()  # type: ignore[operator]
        return waiting

    def local(self, tensor: Tensor) -> Tensor:
        """Returns what this process holds of a parameter."""
        if not self.shards:
            return tensor
        from avbench.training.sharded import local

        return local(tensor)

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns tensors of the model or of its optimiser whole, to the leader; all processes must ask."""
        if not self.shards:
            return dict(tensors)
        from avbench.training.sharded import gathered

        with lost_companion():
            return gathered(tensors, keep=self.leads)

    def divide(self, tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Returns what this process holds of whole tensors, keyed ``PARAMETER`` or ``PARAMETER/NAME``."""
        if not self.shards:
            return tensors
        from avbench.training.sharded import divided

        return divided(tensors, model)

    def alike(self, value: bool) -> bool:
        """Returns what the leader's value is, in every process."""
        return self.any(value and self.leads)

    def any(self, value: bool) -> bool:
        """Returns whether the value is true in one of the processes."""
        return self.each(value)[0]

    def each(self, *values: bool) -> list[bool]:
        """Returns of each value whether it is true in one of the processes."""
        if self.world == 1:
            return list(values)
        import torch
        from torch import distributed

        flags = torch.tensor(values, dtype=torch.float32)  # on the CPU: asking a GPU would wait for the step in flight
        with lost_companion():
            distributed.all_reduce(flags)
            return [flag > 0 for flag in flags.tolist()]

    def gathered(self, values: list[int]) -> list[int]:
        """Returns the values of all processes, by rank; as many in each."""
        if self.world == 1:
            return values
        from torch import distributed

        parts: list[list[int]] = [[] for _ in range(self.world)]
        with lost_companion():
            distributed.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the means over the processes of values, () each, named alike in all; on the device they are on."""
        if self.world == 1:
            return dict(values)
        import torch
        from torch import distributed

        names = sorted(values)
        stacked = torch.stack([values[name].detach().float() for name in names])
        with lost_companion():
            distributed.all_reduce(stacked)
        means = dict(zip(names, (stacked / self.world).unbind(), strict=True))
        return {name: means[name] for name in values}


@contextlib.contextmanager
def join(device: str, parallel: Parallel = "ddp") -> Iterator[ProcessGroup]:
    """Meets the other processes that the environment speaks of, if any.

    Where one of them is lost inside the block, this process ends with a line of its own and status 1: it can neither go
    on nor tidy up what they share.

    Args:
        device: ``cpu``: they speak by gloo. ``cuda``: each takes the GPU of its LOCAL_RANK; what is on it goes by NCCL,
            what is on the CPU, such as whether to stop, by gloo.
        parallel: See :class:`ProcessGroup`.

    Yields:
        The group.

    Raises:
        InputError: The environment names some of what is needed, but not all.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if world == "1":
        yield ProcessGroup()
        return
    missing = [name for name in _NAMED if name not in os.environ]
    if missing or not world.isdigit() or int(world) < 1:
        without = f" and no {', '.join(missing)}" if missing else ""
        raise InputError(
            f"WORLD_SIZE: found {world}{without}, valid: as torchrun sets them (torchrun --nproc-per-node N -m avbench"
            " pretrain ...), or no WORLD_SIZE."
        )
    import torch
    from torch import distributed

    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group(_BACKENDS[device], timeout=_PATIENCE)
    try:
        group = ProcessGroup(distributed.get_rank(), distributed.get_world_size(), parallel)
        _check_code(group)
        yield group
    except LostCompanion as error:
        _leave(str(error))
    except BaseException:
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


def _check_code(group: ProcessGroup) -> None:
    """Checks that all processes run the same code.

    Raises:
        InputError: They do not.
    """
    from avbench.processes import code_sha256

    own = int(code_sha256()[:15], 16)
    others = {value for value in group.gathered([own]) if value != own}
    if others:
        raise InputError(
            f"process {group.rank}: found code {own:015x}, others of this training have"
            f" {', '.join(f'{value:015x}' for value in sorted(others))}; valid: the same avbench on all machines."
        )


def _leave(message: str) -> NoReturn:
    """Ends this process at once, with a line and status 1; the only place of the package that does so.

    After a collective has failed, others may be in flight, in threads of gloo or NCCL. To destroy the process group, or
    to let the interpreter end and destroy it, waits for these threads: for as long as the other survivors do not end
    either, so that two of them wait for each other. And a thread that lets go of its tensors while the interpreter ends
    asks for a lock that is no more, which aborts the process. What is on disk is whole at any moment, locks and sockets
    go with the process, and the processes that read clips end when their parent does.
    """
    sys.stderr.write(f"avbench: error: {message}\n")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(RunError.exit_status)


@contextlib.contextmanager
def lost_companion() -> Iterator[None]:
    """Turns a failure to reach the other processes into one line.

    Raises:
        LostCompanion: The block could not reach them.
    """
    try:
        yield
    except RuntimeError as error:
        from torch import distributed

        # Gloo has no error class of its own.
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error) and "Connection" not in str(error):
            raise
        reason = str(error).partition("\n")[0]
        raise LostCompanion(
            f"another process of this training has ended; its own message says why ({reason})."
        ) from error

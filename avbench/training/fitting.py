"""Where memory runs out: which smaller pass of training there is memory for; what needs no gradient goes in parts."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avbench.errors import RunError
from avbench.rng import torch_stream

if TYPE_CHECKING:
    from avbench.training.objective import TrainingBatch
    from avbench.training.session import Session


log = logging.getLogger("avbench")
# What torch says, as a RuntimeError, of the machine's memory, and of a GPU's where a library asked for it.
_LACKING = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether memory ran out, of the machine or of a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LACKING)


def in_parts(compute: Callable[..., dict[str, Tensor]], *inputs: Tensor | None) -> dict[str, Tensor]:
    """Computes the rows of a batch together, or in halves, and halves of these, where memory runs out.

    Args:
        compute: Gives tensors by name, with a row for each of the batch.
        inputs: What it is given, with as many rows each; None: of this modality there is nothing.

    Raises:
        RunError: There is no memory for one clip.
    """
    first = next(each for each in inputs if each is not None)
    clips = len(first)
    try:
        return compute(*inputs)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        said = _first_line(error)
    if clips < 2:
        raise RunError(f"out of memory in computing one clip ({said}); a smaller model or --precision bf16 takes less.")
    log.warning("out of memory in computing %d clips together (%s); they are computed in halves", clips, said)
    if first.is_cuda:
        torch.cuda.empty_cache()
    halves = [in_parts(compute, *(None if each is None else each[part] for each in inputs)) for part in _halves(clips)]
    return {name: torch.cat([half[name] for half in halves]) for name in halves[0]}


def _halves(clips: int) -> tuple[slice, slice]:
    return slice(clips // 2), slice(clips // 2, clips)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def step(session: Session, batch: TrainingBatch, waited: float) -> None:
    """Makes one optimiser step.

    Args:
        session: Of the training.
        batch: On the CPU or the device.
        waited: Seconds it was waited for.

    Raises:
        RunError: The loss is not finite; or memory ran out, and which pass would fit.
    """
    try:
        session.step(batch, waited)
        return
    except Exception as error:
        said = _first_line(error)
        if session.device == "cuda" and "deterministic implementation" in said:
            raise RunError(
                f"{said} --set train.deterministic=false lets it run; two runs may then differ in their last bits."
            ) from None
        if not is_out_of_memory(error):
            raise
    share = session.share  # the error is gone by now, and with it what its traceback held
    size = share.clips // share.passes
    if share.group.world > 1:  # the others wait in a step that this one has left: nothing can be tried
        raise RunError(
            f"out of memory in step {session.state.step + 1}, of {size} clips a pass in each of {share.group.world}"
            f" processes ({said}); what is finished is kept. Fewer fit: --set {session.section}.batch_size, or more"
            f" processes{' or train.accumulate' if session.section == 'train' else ''}."
        )
    fits = next((clips for clips in _smaller(share.clips, size) if _fits(session, batch, clips)), 0)
    if not fits:
        advice = "nor is there room for two; a smaller model or --precision bf16 takes less"
    elif session.section == "train":
        contrast = ", which are contrasted among each other alone" if share.together else ""
        advice = (
            f"{fits} fit: --set train.accumulate={share.batch // fits} keeps the batch in passes of {fits}{contrast}"
        )
    else:
        advice = f"{fits} fit: --set {session.section}.batch_size={fits}"
    raise RunError(
        f"out of memory in step {session.state.step + 1}, of {size} clips a pass ({said}); {advice}. What is finished"
        " is kept."
    )


def _smaller(clips: int, size: int) -> list[int]:
    """Returns the smaller passes of at least two clips that a step can be divided into, the largest first."""
    return [clips // passes for passes in range(2, clips // 2 + 1) if clips % passes == 0 and clips // passes < size]


def _fits(session: Session, batch: TrainingBatch, clips: int) -> bool:
    session.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if session.device == "cuda":
        torch.cuda.empty_cache()
    noise = session.objective.draw_noise(session.share.batch, torch_stream(session.seed, "fitting"))
    part = slice(0, clips)
    try:
        # In the first step the optimiser has none of its two averages yet, which the next ones need room for.
        averages = [torch.empty_like(each) for each in _trained(session) for _ in range(0 if session.state.step else 2)]
        session.forward(batch, noise.part(part), part)["objective"].backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    del averages
    return True


def _trained(session: Session) -> list[torch.nn.Parameter]:
    return [parameter for group in session.optimizer.param_groups for parameter in group["params"]]

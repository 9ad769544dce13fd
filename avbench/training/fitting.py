"""Where memory runs out in training: which smaller pass there is memory for."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import torch

from avbench.errors import RunError
from avbench.rng import torch_stream

if TYPE_CHECKING:
    from avbench.training.objective import Batch
    from avbench.training.session import Session


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether memory ran out, of the machine or of a GPU."""
    lacking = "can't allocate memory" in str(error)  # what torch says of the machine's, as a RuntimeError
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or lacking


def step(session: Session, batch: Batch, waited: float) -> None:
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
        # Of several processes, the others wait in a step that this one has left: nothing can be tried.
        if session.share.group.world > 1 or not is_out_of_memory(error):
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
    share = session.share  # the error is gone by now, and with it what its traceback held
    size = share.clips // share.passes
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


def _fits(session: Session, batch: Batch, clips: int) -> bool:
    session.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    if session.device == "cuda":
        torch.cuda.empty_cache()
    noise = session.objective.draw_noise(session.share.batch, torch_stream(session.seed, "fitting"))
    part = slice(0, clips)
    try:
        session.forward(batch, noise.part(part), part)["objective"].backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True

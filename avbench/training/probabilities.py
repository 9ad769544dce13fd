"""The class probabilities that a fine-tuned model gives clips (docs/protocol/cavmae.md 3.4)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed.batch import Batch, arrays, moved
from avbench.data.feed.loader import Feed
from avbench.data.progress import Progress
from avbench.errors import RunError
from avbench.methods.classifier import Classifier
from avbench.training.device import torch_threads
from avbench.training.finetune import Loss, Work, own_feed
from avbench.training.precision import autocast

_FRAMES_AT_ONCE = 64  # of a test batch


@torch.inference_mode()
def predict(
    model: Classifier,
    clips: Clips,
    input: InputConfig,
    *,
    modes: tuple[str, ...],
    loss: Loss,
    frames: Literal["all", "middle"],
    work: Work,
) -> dict[str, npt.NDArray[np.float32]]:
    """Returns the class probabilities of every clip in each mode, (n, C): none is left out, and none comes twice.

    Each frame's probabilities (sigmoid or softmax in float32) are averaged over the frames of a clip; a head that looks
    at all frames together gives one prediction.

    Args:
        model: In evaluation mode, on ``work.device``.
        clips: The clips.
        input: How a clip becomes tensors; a middle frame is ``eval_frame``.
        modes: See :data:`avbench.methods.classifier.MODES`.
        loss: ``bce``: sigmoid, ``ce``: softmax.
        frames: Which frames of a clip.
        work: Where and how.

    Raises:
        RunError: A clip cannot be read, or a probability is not finite.
    """
    every = frames == "all" or model.head.kind != "linear"
    if set(modes) <= {"audioonly", "missingaudioonly"} and not input.segment_length and model.head.kind == "linear":
        every = False  # each frame would bring the same sound
    readers = work.train.workers
    feed = own_feed(model, clips, None, 0, readers) or Feed(
        clips, input, mode="all_frames" if every else "eval", workers=readers, device=work.device
    )
    size = max(1, _FRAMES_AT_ONCE // feed.dataset.frames_per_item)
    found: dict[str, list[npt.NDArray[np.float32]]] = {mode: [] for mode in modes}
    with (
        torch_threads(feed.workers, work.train.threads),
        Progress("test", len(clips), unit="clip", enabled=work.progress) as bar,
    ):

        def probabilities(batch: Batch) -> dict[str, Tensor]:
            audio, visual = batch.inputs(work.device)
            values = {}
            for mode in modes:
                with autocast(work.precision, work.device):
                    logits = model(audio, visual, mode).float()
                each = logits.sigmoid() if loss == "bce" else logits.softmax(dim=-1)
                values[mode] = each.mean(dim=1) if each.ndim == 3 else each
            return values

        batches = moved(feed.batches(np.arange(len(clips)), size), work.device)
        for count, rows in arrays((len(batch.index), probabilities(batch)) for batch in batches):
            for mode in modes:
                found[mode].append(rows[mode])
            bar.step(count=count)
    scores = {mode: np.concatenate(parts) for mode, parts in found.items()}
    for mode, values in scores.items():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise RunError(f"mode {mode}: {len(bad)} of {len(clips)} clips have probabilities that are not finite.")
    return scores

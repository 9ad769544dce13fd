"""The learning rate as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from avbench.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, *, steps: int, steps_per_epoch: int) -> float:
    """Returns the learning rate of one optimiser step.

    ``step`` keeps the base rate for ``decay_start`` epochs and multiplies it by ``decay_rate`` then and after every
    ``decay_every`` further epochs (the authors' MultiStepLR; docs/protocol/cavmae.md 3.1). ``cosine`` falls from the
    base rate after the warm-up to ``final_lr`` times it at the end. Every schedule begins with the warm-up, if there is
    one.

    Args:
        config: Rates and times.
        step: Number of optimiser steps done, 0 to ``steps`` - 1.
        steps: Optimiser steps in all.
        steps_per_epoch: Optimiser steps of one pass over the clips.
    """
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "cosine":
        progress = (step - warmup) / max(steps - warmup, 1)
        share = config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        return config.lr * share
    if config.schedule == "step":
        late = step // steps_per_epoch - config.decay_start
        decays = 1 + late // config.decay_every if late >= 0 else 0
        return config.lr * config.decay_rate**decays
    return config.lr

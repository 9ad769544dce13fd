"""Sweeps: scores against each setting that the papers vary, from records that differ in nothing else."""

from __future__ import annotations

import contextlib

from avbench.report.figures import beginnings
from avbench.report.figures.base import Context, Drawing, FigureCard, NothingToDraw
from avbench.report.figures.curves import against

CARD = FigureCard(
    title="Scores against lambda_c, masking, batch size, epochs, targets, first weights, window, registers",
    source="CAV-MAE Tables 2a-2e, 10-15; CAV-MAE Sync",
    order=50,
)
# Setting, name of the axis, values for the suggested command, logarithmic axis.
SETTINGS = (
    ("method.lambda_c", "contrastive weight λ_c", "0.01 0.1 1", True),
    ("method.masking_ratio", "masking ratio", "0.5 0.75 0.9", False),
    ("method.masking_strategy", "masking strategy", "uniform time frequency", False),
    ("train.batch_size", "clips of a batch", "16 32 64", True),
    ("train.epochs", "epochs of pretraining", "1 3 12 25", False),
    ("input.segment_length", "rows of spectrogram around each frame", "192 416 624", False),
    ("train.steps", "steps of pretraining", "80 160 320", False),
    ("method.norm_pix_loss", "normalised targets", "true false", False),
    ("method.registers", "register tokens", "0 4 8", False),
    ("method.global_token", "global token", "true false", False),
)


def draw(context: Context) -> list[Drawing]:
    """Draws one figure a setting that was varied, and one of what trainings began with.

    See :func:`avbench.report.figures.curves.against` and :func:`avbench.report.figures.beginnings.draw`.

    Raises:
        NothingToDraw: None was.
    """
    found, reasons = [], []
    for field, name, values, log in SETTINGS:
        try:
            found.append(against(context, field, name, values=values, log=log))
        except NothingToDraw as reason:
            reasons.append(str(reason))
    with contextlib.suppress(NothingToDraw):
        found.append(beginnings.draw(context))
    if not found:
        raise NothingToDraw(reasons[0])
    return found

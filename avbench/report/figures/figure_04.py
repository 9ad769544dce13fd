"""Figure 4: the score against how many frames of a clip are used."""

from __future__ import annotations

import dataclasses

from avbench.report.figures.base import Context, Drawing, FigureCard
from avbench.report.figures.curves import against

CARD = FigureCard(title="Score against the number of frames", source="CAV-MAE Figure 4", order=4)


def draw(context: Context) -> list[Drawing]:
    """Draws a panel a task; see :func:`avbench.report.figures.curves.against`.

    Raises:
        NothingToDraw: No records that differ in the number of frames alone.
    """
    drawing = against(context, "data.n_frames", "frames of a clip", values="2 4 6")
    return [dataclasses.replace(drawing, part="")]

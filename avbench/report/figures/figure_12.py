"""CAV-MAE Figures 12 and 13: reconstructed sounds by what was removed."""

from __future__ import annotations

import dataclasses

from avbench.report.figures.base import Context, Drawing, FigureCard
from avbench.report.figures.inpainted import inpainted

CARD = FigureCard(title="Reconstructed sounds under four maskings", source="CAV-MAE Figures 12 and 13", order=12)


def draw(context: Context) -> list[Drawing]:
    """Draws clips; see :func:`avbench.report.figures.inpainted.inpainted`.

    Raises:
        NothingToDraw: No reconstruction, or its clips or weights are gone.
    """
    return [
        dataclasses.replace(each, part=f"{ratio:.0%}".rstrip("%"))
        for ratio in (0.75, 0.9)
        for each in inpainted(context, ratio, ("time", "frequency", "time_frequency", "uniform"), frames=False)
    ]

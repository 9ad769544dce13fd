"""CAV-MAE Figures 9 to 11: reconstructed frames and sounds."""

from __future__ import annotations

import dataclasses

from avbench.report.figures.base import Context, Drawing, FigureCard
from avbench.report.figures.inpainted import inpainted

CARD = FigureCard(title="Reconstructions at 50, 75 and 90 % masking", source="CAV-MAE Figures 9 to 11", order=9)


def draw(context: Context) -> list[Drawing]:
    """Draws clips; see :func:`avbench.report.figures.inpainted.inpainted`.

    Raises:
        NothingToDraw: No reconstruction, or its clips or weights are gone.
    """
    return [
        dataclasses.replace(each, part=f"{ratio:.0%}".rstrip("%"))
        for ratio in (0.5, 0.75, 0.9)
        for each in inpainted(context, ratio, ("uniform",), frames=True)
    ]

"""CAV-MAE Figures 2 and 8: retrieval samples."""

from __future__ import annotations

from avbench.report.figures.base import Context, Drawing, FigureCard
from avbench.report.figures.galleries import gallery

CARD = FigureCard(title="Frames that ask for sounds", source="CAV-MAE Figures 2 and 8", order=2)


def draw(context: Context) -> list[Drawing]:
    """Draws a gallery; see :func:`avbench.report.figures.galleries.gallery`.

    Raises:
        NothingToDraw: No retrieval, or its clips or embeddings are gone.
    """
    return gallery(context, "v2a")

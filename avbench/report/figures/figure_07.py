"""CAV-MAE Figure 7: retrieval samples."""

from __future__ import annotations

from avbench.report.figures.base import Context, Drawing, FigureCard
from avbench.report.figures.galleries import gallery

CARD = FigureCard(title="Sounds that ask for frames", source="CAV-MAE Figure 7", order=7)


def draw(context: Context) -> list[Drawing]:
    """Draws a gallery; see :func:`avbench.report.figures.galleries.gallery`.

    Raises:
        NothingToDraw: No retrieval, or its clips or embeddings are gone.
    """
    return gallery(context, "a2v")

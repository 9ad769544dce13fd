"""Figures by name: which there are, and drawing them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from avbench import registry
from avbench.errors import unknown
from avbench.report.figures.base import Context, Drawing, NothingToDraw
from avbench.report.records import Records


@dataclass(frozen=True)
class Drawn:
    """A figure of one data set, or the reason that there is none.

    Attributes:
        id: As it is asked for, ``figure_05``.
        name: Its file's name, ``figure_05`` or ``sweeps_lambda_c``.
        title: A few words.
        source: The paper's figure, or none.
        data: The data set.
        drawing: The figure; None: there is nothing to draw.
        reason: Why not, and the command that would help.
    """

    id: str
    name: str
    title: str
    source: str
    data: str
    drawing: Drawing | None = None
    reason: str = ""

    def png(self) -> bytes:
        """Returns the picture as PNG.

        Raises:
            ValueError: There is nothing to draw.
        """
        if self.drawing is None:
            raise ValueError(self.reason)
        buffer = io.BytesIO()
        self.drawing.canvas.savefig(buffer, format="png", dpi=self.drawing.dpi, metadata={"Software": None})
        return buffer.getvalue()


def names() -> list[str]:
    """Returns the ids of all figures, in the order of the papers."""
    known = registry.entries("figure")
    return sorted(known, key=lambda name: (known[name].card.get("order", 100), name))


def figures_of(archive: Records, ids: Sequence[str] = (), data: str | None = None) -> Iterator[Drawn]:
    """Draws figures from records.

    Args:
        archive: The records.
        ids: Which; none: all.
        data: Of which data set; None: of each that records are of.

    Raises:
        InputError: An id that is none, or a data set without records.
    """
    entries = [registry.find("figure", name) for name in ids or names()]
    if data is not None and data not in archive.data():
        raise unknown("data set of the records", data, archive.data())
    for each in [data] if data is not None else sorted(archive.data()):
        context = Context(archive.results, archive, each)
        for entry in entries:
            card = entry.card
            about = (card["title"], card.get("source", ""), each)
            try:
                drawings = entry.load().draw(context)
            except NothingToDraw as reason:
                yield Drawn(entry.name, entry.name, *about, reason=str(reason))
                continue
            for drawing in drawings:
                name = f"{entry.name}_{drawing.part}" if drawing.part else entry.name
                yield Drawn(entry.name, name, *about, drawing=drawing)

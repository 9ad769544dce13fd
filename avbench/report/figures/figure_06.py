"""Figure 6: where a sound is in the picture, as the localization drew its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avbench.report.figures.base import Context, Drawing, FigureCard, NothingToDraw, label, subplots
from avbench.report.figures.samples import bare, chosen_row
from avbench.store.records import read_per_sample, stage_folder
from avbench.store.rows import Row

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 8  # samples on a sheet, as the task draws them by default
CARD = FigureCard(title="Localization heat maps, best and worst", source="CAV-MAE Figure 6", order=6)


def draw(context: Context) -> list[Drawing]:
    """Shows the sheets that the task wrote of its best and its worst samples.

    Raises:
        NothingToDraw: No localization, or its pictures are gone.
    """
    import numpy as np
    from PIL import Image

    row = chosen_row(context, "localization")
    folder = stage_folder(context.results, "localization", row.id) / "pictures"
    sheets = [folder / f"{name}.png" for name in ("best", "worst") if (folder / f"{name}.png").exists()]
    if not sheets:
        raise NothingToDraw(f"no pictures in {folder}; run the task again with --force.")
    drawings = []
    for path in sheets:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        height, width = pixels.shape[:2]
        canvas, axes = subplots(1, 1, width=7.0, height=7.0 * height / width)
        axes[0, 0].imshow(pixels, interpolation="antialiased")
        bare(axes[0, 0])
        method = label(row.method)
        caption = (
            f"The samples of {context.data} with the {path.stem} heat maps, by {method}, seed {row.seed}: the frame,"
            " the map of its own sound, and that of another clip's sound. The ground truth is outlined."
        )
        table = _shown(context, row, path.stem)
        alt = f"The {path.stem} samples: frames with heat maps over them."
        drawings.append(Drawing(canvas, table, caption, alt, part=path.stem, dpi=110, photographs=True))
    return drawings


def _shown(context: Context, row: Row, sheet: str) -> pd.DataFrame:
    """Returns the samples on a sheet with their scores, best or worst first: those the task drew."""
    import pandas as pd

    outputs = read_per_sample(context.results, row.id)
    names = [name for name in ("AP", "wrong_audio/AP", "cIoU", "wrong_audio/cIoU") if name in outputs]
    table = pd.DataFrame({name: outputs[name] for name in ("id", *names)})
    table.insert(0, "run", row.id)
    judged = names[0] if names else "id"
    return table.sort_values(judged, ascending=sheet == "worst", kind="stable")[:SHOWN]

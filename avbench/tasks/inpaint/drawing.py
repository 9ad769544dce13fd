"""Draws what a decoder makes of what masks leave: original, kept and in-painted, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avbench.tasks.inpaint.inpainter import Inpainter
from avbench.tasks.inpaint.panels import Panel

# Inches: a line of frames or of spectrograms, between lines, and above and below them all.
_HEIGHTS = {"visual": 3.0, "audio": 1.9}
_WIDTH, _GAP, _MARGIN = 10.0, 0.3, 1.0
_DPI = 100
_GREY = (0.75, 0.75, 0.75, 1.0)


def draw(path: Path, clip: str, panels: Sequence[Panel], model: Inpainter) -> None:
    """Draws the lines of one clip into a PNG: original, kept and in-painted, side by side.

    Args:
        path: The file.
        clip: Its id, the title.
        panels: The lines.
        model: The model that made them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_HEIGHTS[panel.modality] for panel in panels]
    height = sum(heights) + _GAP * (len(panels) - 1) + _MARGIN
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    note = "\nmodel of normalised patches: those in-painted have the true mean and deviation of their patch"
    figure.suptitle(clip + note * model.norm_pix_loss, fontsize=10, y=1 - 0.08 / height, va="top", parse_math=False)
    # Places are fixed: a layout engine would take ten times as long as all else.
    grid = figure.add_gridspec(
        len(panels),
        3,
        height_ratios=heights,
        left=0.055,
        right=0.99,
        wspace=0.06,
        hspace=_GAP * len(panels) / sum(heights),
        top=1 - 0.65 * _MARGIN / height,
        bottom=0.35 * _MARGIN / height,
    )
    for number, panel in enumerate(panels):
        row = [figure.add_subplot(grid[number, column]) for column in range(3)]
        share = f"{panel.strategy.replace('_', '-')}, {panel.removed.mean():.0%} removed"
        for axes, title in zip(row, ("original", share, f"in-painted, MSE {panel.error:#.3g}"), strict=True):
            axes.set_title(title, fontsize=9, pad=3)
        show(row, panel, panel.original.shape[1] * model.input.frame_shift_ms / 1000)
        _label(row, panel, last=number == len(panels) - 1)
    figure.savefig(path, dpi=_DPI)


def show(axes: Sequence[Any], panel: Panel, seconds: float | None = None) -> None:
    """Draws a line into three axes: what was there, what was left of it, and what was made of that.

    Args:
        axes: Three.
        panel: The line.
        seconds: Length of its sound, for an axis with units; None: pixels.
    """
    options: dict[str, Any] = {"interpolation": "nearest"}
    scale: dict[str, Any] = {}
    if panel.modality == "audio":
        options |= {"origin": "lower", "aspect": "auto"}
        if seconds is not None:
            options["extent"] = (0.0, seconds, 0.0, float(panel.original.shape[0]))
        scale = {"cmap": "magma", "vmin": float(panel.original.min()), "vmax": float(panel.original.max())}
    for axis, pixels in zip(axes, (panel.original, panel.original, panel.inpainted), strict=True):
        axis.imshow(pixels, **options, **scale)
    cover = np.zeros((*panel.removed.shape, 4), np.float32)  # RGBA, clear where a patch was kept
    cover[panel.removed] = _GREY
    axes[1].imshow(cover, **options)


def _label(axes: Sequence[Any], panel: Panel, *, last: bool) -> None:
    """Labels the axes of a line, the last line's with the seconds below."""
    for axis in axes:
        axis.tick_params(labelsize=7)
        if panel.modality == "visual":
            axis.set_axis_off()
            continue
        if axis is axes[0]:
            axis.set_ylabel("mel bin", fontsize=8)
        else:
            axis.set_yticks([])
        if last:
            axis.set_xlabel("seconds", fontsize=8)
        else:
            axis.set_xticks([])

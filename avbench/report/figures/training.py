"""The course of pretraining: losses against steps, a line a method, seeds as a band."""

from __future__ import annotations

import logging
import math
from typing import Any

from avbench.files import Damaged
from avbench.report.figures.base import (
    BAND,
    Context,
    Drawing,
    FigureCard,
    NothingToDraw,
    colours,
    label,
    legend,
    main_rows,
    order,
    seeds_of,
    subplots,
)
from avbench.store import stages
from avbench.store.rows import Row

CARD = FigureCard(title="Losses during pretraining", order=60)
# Columns of metrics.csv, and what a panel is called.
PARTS = {
    "contrast": "contrast",
    "reconstruction_audio": "reconstruction, spectrogram",
    "reconstruction_visual": "reconstruction, frame",
}

log = logging.getLogger("avbench")


def draw(context: Context) -> list[Drawing]:
    """Draws a panel for each part of the losses.

    Raises:
        NothingToDraw: No pretraining of a record is in the results folder.
    """
    import pandas as pd

    rows: dict[tuple[str, int], Row] = {}
    for task in ("retrieval", "linear_probe", "classification", "reconstruction", "localization"):
        for row in main_rows(context, context.rows(task, weights=("pretrained",))):
            rows.setdefault((row.method, row.seed), row)
    frames = [frame for row in rows.values() if (frame := _curve(context, row)) is not None]
    if not frames:
        raise NothingToDraw(f"no pretraining here; avbench grid --methods all --data {context.named}")
    long = pd.concat(frames)
    table = long.groupby(["part", "method", "step"], sort=False)["loss"].agg(["mean", "std", "count"]).reset_index()
    methods = sorted(table["method"].unique(), key=order)
    colour = colours(methods)
    parts = [part for part in PARTS if part in set(table["part"])]
    canvas, axes = subplots(1, len(parts), width=3.2, height=2.8)
    for axis, part in zip(axes[0], parts, strict=True):
        for method in methods:
            line = table[(table["part"] == part) & (table["method"] == method)]
            if len(line):
                spread = line["std"].fillna(0)
                axis.plot(line["step"], line["mean"], color=colour[method], label=label(method))
                axis.fill_between(
                    line["step"], line["mean"] - spread, line["mean"] + spread, color=colour[method], alpha=0.15, lw=0
                )
        clips = {chance for chance in long[long["part"] == part]["chance"] if chance == chance}
        for chance in sorted(clips):
            axis.axhline(chance, color="0.4", ls=":", lw=1)
            axis.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), ha="right", va="bottom")
        axis.set(title=PARTS[part], xlabel="step", ylabel="loss")
    legend(canvas, axes, BAND)
    caption = (
        f"Parts of the pretraining loss on {context.data}, {seeds_of(list(rows.values()))}, before their weights, mean"
        " and standard deviation over seeds. The dotted line is the contrast of a model that tells no clip apart, the"
        " logarithm of the clips of a forward pass."
    )
    return [Drawing(canvas, table, caption, f"{len(parts)} panels of lines that fall with the steps of training.")]


def _curve(context: Context, row: Row) -> Any:
    """Returns one pretraining's parts as a long table, or None where it is gone."""
    import pandas as pd

    pretrain = row.pretraining
    try:
        lines = stages.course(context.results, "pretrain", pretrain) if pretrain else []
        if not lines:
            return None
        train = stages.done(context.results, "pretrain", pretrain)["key"]["train"]
        chance = math.log(train["batch_size"] / train["accumulate"])
        found = [
            {
                "method": row.method,
                "seed": row.seed,
                "step": int(line["step"]),
                "part": part,
                "loss": float(line[part]),
                "chance": chance if part == "contrast" else float("nan"),
            }
            for line in lines
            for part in PARTS
            if line.get(part)
        ]
    except Damaged as damage:
        log.warning("%s Its curve is left out.", damage)
        return None
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        log.warning("pretraining %s: metrics.csv or done.json is damaged (%s); its curve is left out.", pretrain, error)
        return None
    if not found:
        log.warning("pretraining %s: metrics.csv has no losses; its curve is left out.", pretrain)
        return None
    return pd.DataFrame(found)

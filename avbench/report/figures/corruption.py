"""Score against the severity of each corruption, a line a method; severity 0 is the clean clips."""

from __future__ import annotations

from avbench.data.media.corrupt import PICTURES, SOUNDS
from avbench.report.figures.base import (
    Context,
    Drawing,
    FigureCard,
    NothingToDraw,
    legend,
    main_rows,
    seeds_of,
    subplots,
)
from avbench.report.figures.lines import means, plot

CARD = FigureCard(title="Score against the severity of corruptions", order=52)
_COLUMNS = 5
_KEYS = (("a2v/R@10", "v2a/R@10"), ("joint/top1",), ("joint/mAP",))  # the first that a record has; their mean is drawn


def draw(context: Context) -> list[Drawing]:
    """Draws a panel for each corruption.

    Raises:
        NothingToDraw: No record of the task.
    """
    import pandas as pd

    rows = main_rows(context, context.rows("corruption", weights=("pretrained", "checkpoint")))
    found = []
    for row in rows:
        keys = next((keys for keys in _KEYS if f"clean/{keys[0]}" in row.metrics), None)
        for kind in (*SOUNDS, *PICTURES) if keys is not None else ():
            for severity in range(6):
                name = f"{kind}@{severity}" if severity else "clean"
                values = [row.metrics[f"{name}/{key}"] for key in keys or () if f"{name}/{key}" in row.metrics]
                if values:
                    told = {"corruption": kind, "severity": severity, "method": row.method}
                    value = 100 * sum(values) / len(values)
                    metric = " and ".join(keys or ())
                    found.append({**told, "seed": row.seed, "metric": metric, "value": value})
    if not found:
        raise NothingToDraw(f"no record; avbench grid --methods all --tasks corruption --data {context.named}")
    long = pd.DataFrame(found)
    damaged = set(long[long["severity"] > 0]["corruption"])
    kinds = [kind for kind in (*SOUNDS, *PICTURES) if kind in damaged]
    table = means(long[long["corruption"].isin(kinds)], ["metric", "corruption", "severity"])
    count = -(-len(kinds) // _COLUMNS)
    canvas, axes = subplots(count, min(_COLUMNS, len(kinds)), width=1.9, height=1.9, sharey=True)
    for axis in axes.flat[len(kinds) :]:
        axis.set_axis_off()
    metric = " and ".join(sorted(set(long["metric"])))
    for axis, kind in zip(axes.flat, kinds, strict=False):
        plot(axis, table[table["corruption"] == kind], "severity")
        axis.set(title=kind.replace("_", " "), xlabel="severity")
    for axis in axes[:, 0]:
        axis.set_ylabel(f"{metric.replace('a2v/R@10 and v2a/R@10', 'R@10')}, %")
    legend(canvas, axes)
    caption = (
        f"Score of trained models ({metric}, %) on {context.data} with damaged clips, {seeds_of(rows)}: mean and"
        " standard deviation over seeds. Severity 0 is the clean clips."
    )
    return [Drawing(canvas, table, caption, f"{len(kinds)} panels of lines against severities from 0 to 5.")]

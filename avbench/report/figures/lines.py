"""Lines against a number, one for each method: mean over seeds, and their standard deviation as a band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avbench.report.figures.base import colours, label, order


def means(long: Any, by: Sequence[str]) -> Any:
    """Returns mean, standard deviation and count over seeds of ``value``.

    Args:
        long: A table with ``method``, ``seed``, ``value`` and the columns of ``by``.
        by: Columns that tell lines and places apart, beside the method.
    """
    return long.groupby([*by, "method"], sort=False)["value"].agg(["mean", "std", "count"]).reset_index()


def plot(axis: Any, table: Any, x: str) -> None:
    """Draws the lines of a table of :func:`means` into one panel.

    Args:
        axis: The panel.
        table: Its rows.
        x: The column on the horizontal axis.
    """
    methods = sorted(table["method"].unique(), key=order)
    colour = colours(methods)
    for method in methods:
        line = table[table["method"] == method].sort_values(x)
        spread = line["std"].fillna(0)
        axis.plot(line[x], line["mean"], color=colour[method], label=label(method), marker="o", ms=2.5, lw=1.2)
        axis.fill_between(line[x], line["mean"] - spread, line["mean"] + spread, color=colour[method], alpha=0.15, lw=0)

"""Pictures of a sweep: a slice for each parameter, and how much each matters."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.launch.sweep.config import Goal, Sweep
from avbench.launch.sweep.show import TrialResult
from avbench.launch.sweep.space import Parameter
from avbench.report.figures.base import Drawing, NothingToDraw, colours, label, save, subplots

if TYPE_CHECKING:
    import optuna

_MOST_LINES = 6  # of one panel
_ENOUGH = 4  # trials that importance is told from


def write_plots(study: optuna.Study, sweep: Sweep, found: Sequence[TrialResult], folder: Path) -> Iterator[Path | str]:
    """Writes every picture as PNG, PDF and CSV; yields their paths, and in place of one that cannot be, the reason.

    Args:
        study: Optuna's.
        sweep: The sweep.
        found: Its trials.
        folder: Where they go.
    """
    complete = [row for row in found if row.values]
    for parameter in sweep.space:
        try:
            drawing = slice_of(sweep, complete, parameter)
        except NothingToDraw as reason:
            yield f"slice of {parameter.key}: {reason}"
            continue
        yield from save(drawing, folder, f"slice_{parameter.key.replace('/', '_')}")
    try:
        yield from save(importance(study, sweep), folder, "importance")
    except NothingToDraw as reason:
        yield f"importance: {reason}"


def slice_of(sweep: Sweep, complete: Sequence[TrialResult], parameter: Parameter) -> Drawing:
    """Draws each objective against a parameter: every seed a point, means joined, with deviations over seeds.

    Where one of the other parameters has few values, each of them has its own line.

    Args:
        sweep: The sweep.
        complete: Its trials that are done.
        parameter: On the x axis.

    Raises:
        NothingToDraw: No trial completed.
    """
    import pandas as pd
    from matplotlib.ticker import NullFormatter

    if not complete:
        raise NothingToDraw("no trial completed.")
    split = _split(sweep, parameter)
    named = [_text(value) for value in parameter.values] if not parameter.numeric else []
    lines: dict[str, list[TrialResult]] = {}
    for row in complete:
        lines.setdefault(_text(row.params[split.key]) if split else "", []).append(row)
    colour = _colours(list(lines), split)
    canvas, axes = subplots(1, len(sweep.objectives), width=3.6, height=3.0)
    marks: list[dict[str, Any]] = []
    for axis, objective in zip(axes[0], sweep.objectives, strict=True):
        for name, rows in lines.items():
            marks += _line(axis, parameter, objective, rows, named, colour[name], _label(name, split))
        if parameter.log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        if named:
            axis.set_xticks(range(len(named)), named, rotation=20 if max(map(len, named)) > 8 else 0)
        elif parameter.values:
            axis.set_xticks(
                parameter.values, [f"{value:g}" for value in parameter.values if isinstance(value, (int, float))]
            )
            axis.minorticks_off()
        shown = f", {objective.unit.symbol}" if objective.unit.symbol else ""
        axis.set(title=objective.task.replace("_", " "), xlabel=parameter.key, ylabel=f"{objective.metric}{shown}")
        if len(lines) > 1:
            axis.legend(fontsize="x-small", title=split.key if split else None, title_fontsize="x-small")
    seeds = f"{len(sweep.seeds)} seed{'s' if len(sweep.seeds) > 1 else ''}"
    return Drawing(
        canvas,
        pd.DataFrame(marks),
        f"{sweep.summary} ({sweep.source}) on {sweep.data}: score against {parameter.key}, {seeds}; mean and standard"
        " deviation, each seed a point.",
        f"{len(sweep.objectives)} panels of the score against {parameter.key}.",
    )


def importance(study: optuna.Study, sweep: Sweep) -> Drawing:
    """Draws how much of the variance of each objective is explained by each parameter (fANOVA).

    Raises:
        NothingToDraw: There are too few parameters or trials, or the trials do not differ.
    """
    import pandas as pd
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import FrozenTrial, TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = [p.key for p in sweep.space if len({repr(trial.params[p.key]) for trial in complete}) > 1]
    if len(sweep.space) < 2:
        raise NothingToDraw("one parameter is varied, it compares two or more.")
    if len(complete) < _ENOUGH:
        raise NothingToDraw(f"{len(complete)} trials completed, it needs {_ENOUGH}.")
    if len(varied) < 2:
        raise NothingToDraw(f"the trials that completed differ in {varied[0] if varied else 'nothing'} alone.")
    marks = []
    for i, objective in enumerate(sweep.objectives):

        def target(trial: FrozenTrial, i: int = i) -> float:
            return float(trial.values[i])

        if len({target(trial) for trial in complete}) < 2:
            raise NothingToDraw(f"{objective.name} is the same in every trial.")
        try:
            found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), target=target)
        except (RuntimeError, ValueError) as error:
            raise NothingToDraw(f"{' '.join(str(error).split())}") from None
        marks += [{"objective": objective.name, "parameter": key, "importance": share} for key, share in found.items()]
    table = pd.DataFrame(marks)
    canvas, axes = subplots(1, len(sweep.objectives), width=3.6, height=1.0 + 0.35 * len(varied))
    for axis, objective in zip(axes[0], sweep.objectives, strict=True):
        own = table[table["objective"] == objective.name].iloc[::-1]
        axis.barh(own["parameter"], own["importance"], color="0.45", height=0.6)
        axis.set(title=objective.name, xlabel="share of the variance", xlim=(0, 1))
        axis.grid(visible=False, axis="y")
    return Drawing(
        canvas,
        table,
        f"Importance of the parameters of {sweep.name} on {sweep.data}: share of the variance of each objective over"
        f" {len(complete)} trials (fANOVA).",
        f"{len(sweep.objectives)} panels of bars, one a parameter.",
    )


def _split(sweep: Sweep, parameter: Parameter) -> Parameter | None:
    """Returns the parameter whose values have a line each: the method, else the first with few values."""
    others = [p for p in sweep.space if p is not parameter and 1 < len(p.values) <= _MOST_LINES]
    return next((p for p in others if p.key == "method"), others[0] if others else None)


def _colours(names: Sequence[str], split: Parameter | None) -> dict[str, Any]:
    import seaborn as sns

    if split is not None and split.key == "method":
        return colours(names)
    return dict(zip(names, sns.color_palette("colorblind", max(1, len(names))), strict=False))


def _label(name: str, split: Parameter | None) -> str | None:
    if split is None:
        return None
    return label(name) if split.key == "method" else name


def _line(
    axis: Any,
    parameter: Parameter,
    objective: Goal,
    rows: Sequence[TrialResult],
    named: Sequence[str],
    colour: Any,
    name: str | None,
) -> list[dict[str, Any]]:
    """Draws the trials of one line; returns its marks."""
    factor = objective.unit.factor
    at: dict[float, list[list[float]]] = {}
    for row in rows:
        value = row.params[parameter.key]
        place = float(named.index(_text(value))) if named else float(value or 0)
        at.setdefault(place, []).append([factor * each for each in row.values[objective.name]])
    marks = []
    means, spreads, places = [], [], sorted(at)
    for place in places:
        # Several trials at one place differ in another parameter: their spread would be no spread over seeds.
        means.append(statistics.fmean(statistics.fmean(values) for values in at[place]))
        alone = at[place][0] if len(at[place]) == 1 else []
        spreads.append(statistics.stdev(alone) if len(alone) > 1 else 0.0)
        for values in at[place]:
            axis.plot([place] * len(values), values, "o", ms=5, mfc="none", mec=colour, alpha=0.6)
        marks.append(
            {
                "objective": objective.name,
                "line": name or "",
                parameter.key: named[int(place)] if named else place,
                "mean": means[-1],
                "sd": spreads[-1] or None,
                "trials": len(at[place]),
            }
        )
    joined = parameter.numeric and bool(parameter.values)  # what a sampler drew lies too close to be joined
    axis.errorbar(
        places, means, yerr=spreads, fmt="o-" if joined else "o", ms=4, lw=1.2, capsize=2, color=colour, label=name
    )
    return marks


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

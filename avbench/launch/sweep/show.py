"""The trials of a sweep as a table: on the terminal, and as CSV."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.compare.terminal import NONE
from avbench.launch.sweep.config import Goal, Params, Sweep
from avbench.metrics.units import Unit

if TYPE_CHECKING:
    import optuna
    import pandas as pd


@dataclass(frozen=True)
class TrialResult:
    """A trial as it ended. ``values``: of each objective, one a seed; empty where it did not complete."""

    number: int
    params: Params
    state: str
    values: dict[str, tuple[float, ...]]
    best: bool
    note: str = ""


def results(study: optuna.Study, sweep: Sweep) -> list[TrialResult]:
    """Returns the trials of a study; those that complete and are not worse than another in everything are best."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(sweep.objectives) == 1:
        best = {study.best_trial.number} if complete else set()
    else:
        best = {trial.number for trial in study.best_trials}
    found = []
    for trial in trials:
        if trial.state == TrialState.WAITING:
            continue
        values = trial.user_attrs.get("values", {}) if trial.state == TrialState.COMPLETE else {}
        pruned = trial.user_attrs.get("pruned_at")
        found.append(
            TrialResult(
                trial.number,
                dict(trial.params),
                trial.state.name.lower(),
                {name: tuple(each) for name, each in values.items()},
                trial.number in best,
                f"at step {pruned}" if pruned is not None else "",
            )
        )
    return found


def render(sweep: Sweep, found: Sequence[TrialResult]) -> str:
    """Returns the table as text, best trials marked with a star."""
    from tabulate import tabulate

    keys = [parameter.key for parameter in sweep.space]
    header = ["trial", *keys, *(_heading(objective) for objective in sweep.objectives), "state"]
    lines = []
    for row in found:
        cells = [_cell(row.values.get(objective.name, ()), objective.unit) for objective in sweep.objectives]
        state = f"{row.state} {row.note}".strip() + (", best" if row.best else "")
        lines.append(
            [f"{row.number}{' *' if row.best else ''}", *(_shown(row.params.get(key)) for key in keys), *cells, state]
        )
    seeds = f"seed{'s' if len(sweep.seeds) > 1 else ''} {' '.join(map(str, sweep.seeds))}"
    several = "; * not worse than another trial in every objective" if len(sweep.objectives) > 1 else "; * best"
    spread = ", mean ± standard deviation" if len(sweep.seeds) > 1 else ""
    title = f"{sweep.name} on {sweep.data}: {sweep.summary}; {seeds}{spread}{several}"
    return f"{title}\n\n{tabulate(lines, headers=header, tablefmt='simple', disable_numparse=True)}"


def frame(sweep: Sweep, found: Sequence[TrialResult], commands: Sequence[str]) -> pd.DataFrame:
    """Returns one row a trial: parameters, each objective's mean, deviation and values of the seeds, command.

    Args:
        sweep: The sweep.
        found: Its trials.
        commands: What each typed.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for row, command in zip(found, commands, strict=True):
        line: dict[str, Any] = {"trial": row.number, "state": row.state, "best": row.best, **row.params}
        for objective in sweep.objectives:
            values = row.values.get(objective.name, ())
            line[objective.name] = statistics.fmean(values) if values else None
            line[f"{objective.name} sd"] = statistics.stdev(values) if len(values) > 1 else None
            for seed, value in zip(sweep.seeds, values, strict=False):
                line[f"{objective.name} seed {seed}"] = value
        lines.append({**line, "command": command})
    return pd.DataFrame(lines)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes the table, whole or not at all."""
    from avbench.files import write_text

    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _heading(objective: Goal) -> str:
    return f"{objective.name}, {objective.unit.symbol}" if objective.unit.symbol else objective.name


def _cell(values: Sequence[float], unit: Unit) -> str:
    if not values:
        return NONE
    mean = f"{unit.factor * statistics.fmean(values):.{unit.coarse}f}"
    return f"{mean} ± {unit.factor * statistics.stdev(values):.{unit.coarse}f}" if len(values) > 1 else mean


def _shown(value: Any) -> str:
    if value is None:
        return NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)

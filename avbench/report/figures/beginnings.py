"""Scores by what a model was trained on before: other weights, clips of its own, both or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avbench.compare.configuration import AT_FIRST, BEFORE, EARLIER, PRETRAINED_ON, Group, clips, group
from avbench.registry import title
from avbench.report.figures.base import (
    MARKS,
    MEAN,
    TRAINED,
    Context,
    Drawing,
    NothingToDraw,
    colours,
    label,
    seeds_of,
    subplots,
)
from avbench.report.figures.curves import JUDGED, axis_of, judged, largest
from avbench.store.rows import Row

NONE, OWN = "none", "own clips"
_LENGTH = ("train.steps", "train.epochs")
_VARIED = ("weights", "presets", "train.init", EARLIER, PRETRAINED_ON)


def begun(facts: Mapping[str, Any], method: str) -> str:
    """Returns what a configuration began with, and what its own training was, as ``AV-MAE | own clips``.

    The training before is called by its method where that is another one, else by its clips, which then are others.
    """
    first = NONE
    if facts.get(EARLIER):
        before = str(facts.get(f"{BEFORE}{AT_FIRST}method") or "unknown")
        first = "other clips" if before == method else label(before)
    return f"{first} | {OWN if _trains(facts) else NONE}"


def _trains(facts: Mapping[str, Any]) -> bool:
    return facts["weights"] != "untrained" and any(facts.get(key) for key in _LENGTH)


def families(rows: Sequence[Row]) -> list[dict[str, list[Row]]]:
    """Returns groups of records that differ in what came before alone, some of them with a training: name to records.

    Without a training of its own a model has no length of it, and belongs to those of every length.
    """
    trained: dict[str, dict[str, list[Row]]] = {}
    chained: set[str] = set()
    others: list[Group] = []
    for each in group(rows):
        if not _trains(each.facts):
            others.append(each)
            continue
        key = _rest(each)
        trained.setdefault(key, {})[begun(each.facts, each.first.method)] = list(each.rows)
        if each.facts.get(EARLIER):
            chained.add(key)
    found = {key: family for key, family in trained.items() if key in chained}
    for each in others:
        for family in found.values():
            if _rest(each, length=False) == _rest(group(next(iter(family.values())))[0], length=False):
                family[begun(each.facts, each.first.method)] = list(each.rows)
    return [family for family in found.values() if len(family) > 1]


def _rest(each: Group, *, length: bool = True) -> str:
    left_out = _VARIED if length else (*_VARIED, *_LENGTH)
    facts = {key: value for key, value in each.facts.items() if not key.startswith((BEFORE, *left_out))}
    return repr([*sorted((key, repr(value)) for key, value in facts.items()), clips(each.first)])


def draw(context: Context) -> Drawing:
    """Draws a panel a task, a line of it for each beginning: a mark for each seed, and their mean.

    Raises:
        NothingToDraw: No model was trained further from weights of these results.
    """
    import pandas as pd

    tasks = {task: largest(families(context.rows(task, weights=("pretrained", "untrained")))) for task in JUDGED}
    tasks = {task: found for task, found in tasks.items() if found}
    if not tasks:
        raise NothingToDraw(
            "no records of a training that began with another's weights; avbench sweep initialisation --data"
            f" {context.named}"
        )
    points = [
        {
            "task": task,
            "method": row.method,
            "began with": name,
            "metric": keys[0] if len(keys) == 1 else "R@10",
            "seed": row.seed,
            "score": sum(row.metrics[key] for key in keys) / len(keys),
        }
        for task, found in tasks.items()
        for family in found
        for name, rows in family.items()
        for row in rows
        if (keys := judged(row))
    ]
    table = pd.DataFrame(points)
    names = sorted(table["began with"].unique(), key=lambda name: (name.endswith(OWN), name.startswith(NONE), name))
    place = {name: number for number, name in enumerate(names)}
    canvas, axes = subplots(1, len(tasks), width=3.0, height=0.34 * len(names) + 1.2, sharey=True)
    colour = colours(list(table["method"].unique()))
    for axis, task in zip(axes[0], tasks, strict=True):
        of_task = table[table["task"] == task]
        name, factor = axis_of(of_task["metric"], task)
        for method, began in dict.fromkeys(zip(of_task["method"], of_task["began with"], strict=True)):
            own = of_task[(of_task["method"] == method) & (of_task["began with"] == began)]
            scores = factor * own["score"]
            axis.plot([scores.mean()] * 2, [place[began] - 0.3, place[began] + 0.3], color=colour[method], lw=1.5)
            axis.scatter(scores, [place[began]] * len(scores), s=18, color=colour[method], label=label(method))
        axis.set(title=title(task), xlabel=name)
        axis.set_yticks(list(place.values()), names)
        axis.set_xlim(left=0)
        for mark in (TRAINED, MEAN):
            axis.plot([], [], color="0.4", label=mark.partition(",")[0], **MARKS[mark])
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        axis.legend(handles.values(), handles, fontsize="x-small")
    rows = [row for found in tasks.values() for family in found for each in family.values() for row in each]
    return Drawing(
        canvas,
        table,
        f"Scores on {context.data} by what came before | the last training, {seeds_of(rows)}: a mark a seed, the line"
        f" their mean. {NONE} | {NONE} is the untrained model.",
        f"{len(tasks)} panels, one a task; a row of marks for each beginning.",
        part="beginnings",
    )

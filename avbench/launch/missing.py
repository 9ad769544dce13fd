"""The runs that would fill the empty cells of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from avbench import registry
from avbench.compare.configuration import facts
from avbench.data.locate import EMBEDDED
from avbench.launch.planner import Wanted
from avbench.recipes.recipe import Recipe
from avbench.report.records import Records
from avbench.report.tables.cells import Builder, ensemble_queries
from avbench.report.tables.entry import RowEntry, TableEntry
from avbench.report.tables.layout import Layout, lay_out
from avbench.report.tables.selection import Query, same, standard
from avbench.report.tables.table import Cell, TableRow
from avbench.running.folds import POOLED
from avbench.running.options import ConfigOptions

MODES = {"audio": "audioonly", "visual": "videoonly", "joint": "multimodal", "missing_audio": "multimodal"}
MODES["missing_visual"] = "multimodal"
USUAL = {"method.masking_ratio": 0.75, "method.masking_strategy": "uniform"}  # of the methods themselves
Chain = tuple[Wanted, ...]  # pretrainings, each from the weights of the one before it, and what judges the last


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What a cell needs, before runs are merged."""

    method: str
    task: str
    data: str
    recipe: Recipe | None
    presets: tuple[str, ...]
    sets: Mapping[str, Any]
    init: str = ""
    mode: str = ""
    folds: bool = False


def missing(
    results: Path,
    entries: Sequence[TableEntry],
    data: str | None,
    seeds: Sequence[int] = (),
    builder: Builder | None = None,
) -> list[Chain]:
    """Returns what would fill the cells that no record fills, each distinct run once.

    Args:
        results: The results folder.
        entries: The tables.
        data: As for :func:`avbench.report.tables.tables_of.tables_of`.
        seeds: What each is run for; none: 0 on the paper's data, 0, 1 and 2 on other data.
        builder: What has read the results already.
    """
    builder = builder or Builder(Records(results))
    runs: list[_Run] = []
    for entry in entries:
        if entry.kind == "records":
            runs += _of_entry(builder, lay_out(entry, data), entry)
    each = tuple(seeds) or ((0,) if data is None else (0, 1, 2))
    more = _clips(builder.archive, data)
    return list(dict.fromkeys(chain for group in _merged(runs) for chain in _chains(results, each, group, more)))


def _of_entry(builder: Builder, layout: Layout, entry: TableEntry) -> list[_Run]:
    table = builder.build(entry, layout.data)
    found = []
    # Rows of files that others made come after the layout's: no command here fills them.
    for row, shown in zip(layout.rows, table.rows, strict=False):
        if not isinstance(shown, TableRow):
            continue
        for column, cell in enumerate(shown.cells):
            if not _empty(cell):
                continue
            query = layout.query(row, column)
            if query is not None:
                found.append(_run(query, layout, row, column))
        for span in row.spans:
            if span.ensemble and span.column in layout.origin:
                own = layout.origin.index(span.column)
                if shown.cells[own].mean is None:
                    pair = ensemble_queries(layout, row, span)
                    found += [_run(each, layout, row, place) for each, place in pair]
    return found


def _empty(cell: Cell) -> bool:
    return cell.runnable and not cell.covered and cell.mean is None


def _run(query: Query, layout: Layout, row: RowEntry, column: int) -> _Run:
    chosen, recipe = layout.columns[column], layout.recipe(row, query.method)
    sets = {key: value for key, value in query.where.items() if key.partition(".")[0] in ("method", "train", "task")}
    init = str(sets.pop("train.init", "")) if recipe is None else ""
    presets = chosen.presets if layout.data is None else ()
    sets |= chosen.sets if layout.data is None else {}
    if query.where.get("subset"):
        sets["data.subset"] = query.where["subset"]
    mode = MODES.get(query.metric.split("/")[0], "") if query.task == "classification" else ""
    if layout.data is not None and len(registry.find("method", query.method).card["modalities"]) == 1:
        mode = ""  # it has no other
    sets.pop("task.modes", None)
    if layout.data is not None and sets.get("train.epochs"):
        sets["train.steps"] = 0
    if recipe is not None:
        usual = standard(query.method, query.task, (*recipe.preset, *presets), recipe.name)
    else:
        usual = {**USUAL, **standard(query.method, query.task, presets or query.presets)}
    init = "" if init == "none" == usual["train.init"] else init
    kept = {key: value for key, value in sets.items() if key not in usual or not same(usual[key], value)}
    if mode and layout.data is None:
        given = usual.get("task.modes") or ["multimodal"]
        if mode not in given:
            kept["task.modes"] = [mode]
        mode = ""
    return _Run(
        method=query.method,
        task=query.task,
        data=query.data[0],
        recipe=recipe,
        presets=presets,
        sets=kept,
        init=init,
        mode=mode,
        folds=query.where.get("split") == POOLED,
    )


def _merged(runs: Sequence[_Run]) -> list[tuple[list[str], list[str], _Run, set[str]]]:
    """Returns runs that differ in method or task alone as one: methods, tasks, the run, modes of fine-tuning."""
    by_task: dict[str, tuple[set[str], _Run]] = {}
    for run in runs:
        key = repr((run.method, run.task, run.data, run.recipe, run.presets, run.sets, run.init, run.folds))
        by_task.setdefault(key, (set(), run))[0].add(run.mode)
    by_method: dict[str, tuple[dict[str, None], _Run, set[str]]] = {}
    for modes, run in by_task.values():
        alone = run.recipe is not None or any(key.startswith("task.") for key in run.sets)
        words = (
            run.method,
            run.data,
            run.recipe,
            run.presets,
            run.sets,
            run.init,
            run.folds,
            run.task if alone else "",
        )
        extra = sorted(modes - {"", "multimodal"})
        entry = by_method.setdefault(repr((words, extra)), ({}, run, modes))
        entry[0][run.task] = None
    found: dict[str, tuple[list[str], list[str], _Run, set[str]]] = {}
    for tasks, run, modes in by_method.values():
        shared = (list(tasks), run.data, run.presets, run.sets, run.init, run.method if run.recipe is not None else "")
        key = repr((shared, run.folds, run.recipe, sorted(modes - {"", "multimodal"})))
        methods = found.setdefault(key, ([], list(tasks), run, modes))[0]
        if run.method not in methods:  # two cells may want the same run
            methods.append(run.method)
    return list(found.values())


def _chains(
    results: Path, seeds: tuple[int, ...], group: tuple[list[str], list[str], _Run, set[str]], more: Mapping[str, Any]
) -> Iterator[Chain]:
    methods, tasks, run, modes = group
    sets = {**run.sets, **more}
    if modes - {"", "multimodal"}:
        sets["task.modes"] = ["all"]
    judged = Wanted(
        methods=tuple(methods) if run.recipe is None else (),
        tasks=tuple(tasks),
        seeds=seeds,
        options=ConfigOptions(
            data=run.data,
            init=run.init,
            recipe=run.recipe.name if run.recipe is not None else "",
            preset=run.presets,
            set=_sets(sets),
            results=results,
        ),
        folds=run.folds,
    )
    if run.recipe is None or not run.recipe.data:
        yield (judged,)
        return
    # A row may ask for more than its recipe says.
    own = {key: value for key, value in run.sets.items() if key.partition(".")[0] in ("method", "train")}
    for seed in seeds:  # every seed has weights of its own
        yield (*_pretrainings(run.recipe, own, seed, results), replace(judged, seeds=(seed,), follows="checkpoint"))


def _pretrainings(recipe: Recipe, sets: Mapping[str, Any], seed: int, results: Path) -> Chain:
    before = _pretrainings(recipe.start, {}, seed, results) if recipe.start is not None else ()
    options = ConfigOptions(recipe=recipe.name, set=_sets(sets), results=results)
    return (*before, Wanted(methods=(), seeds=(seed,), options=options, follows="init" if before else ""))


def _sets(values: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    words = tuple(f"{key}={_text(value)}" for key, value in sorted(values.items()))
    return (words,) if words else ()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if yaml.safe_load(value) == value else f"'{value}'"
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def _clips(archive: Records, data: str | None) -> dict[str, Any]:
    """Returns the settings by which new runs judge the clips of the ones there are (embedded set)."""
    if data not in EMBEDDED:
        return {}
    seeds = Counter(facts(row.config).get("data.clips_seed") for row in archive.rows if row.data == data)
    main = seeds.most_common(1)[0][0] if seeds else 0
    return {"data.clips_seed": main} if main else {}

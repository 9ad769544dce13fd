"""One entry a table: the YAML files of ``avbench/report/tables``, read strictly. docs/tables.md describes the keys."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.errors import InputError, did_you_mean, unknown
from avbench.yaml_text import read_yaml

FOLDER = Path(__file__).parent
Where = Mapping[str, Any]  # fact to the value, or the values, it must have


@dataclass(frozen=True, kw_only=True)
class ColumnEntry:
    """One column of numbers, with what it has from the headers above.

    Attributes:
        labels: Header from top to bottom.
        metric: Key of the metric; ``{metric}`` stands for the data's own (mAP, top1).
        task: The task whose records fill it.
        data: Names of the data sets it is about; commands take the first.
        subset: Of the data, see ``data.subset``.
        where: What a record's facts must be, on any data.
        paper: The same, on the paper's data alone.
        direction: ``up`` or ``down``; "": as the metric has it.
        published: Columns of the csv to values that its published numbers have.
        n: Samples of the published numbers.
        presets: What commands add on the paper's data.
        sets: Settings that commands add on the paper's data.
        data_level: Which of the labels names the data; -1: none.
        setting: Table 4: the preset whose settings it shows.
        other: On other data: ``task``, ``metric`` or ``where`` in place of those above.
    """

    labels: tuple[str, ...]
    metric: str = ""
    task: str = ""
    data: tuple[str, ...] = ()
    subset: str = ""
    where: Where = field(default_factory=dict)
    paper: Where = field(default_factory=dict)
    direction: str = ""
    published: Mapping[str, Any] = field(default_factory=dict)
    n: int | None = None
    presets: tuple[str, ...] = ()
    sets: Where = field(default_factory=dict)
    data_level: int = -1
    setting: str = ""
    other: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SpanEntry:
    """A cell over several rows or columns; see :class:`avbench.report.tables.table.Cell`."""

    column: int
    rows: int = 1
    columns: int = 1
    published: Mapping[str, Any] = field(default_factory=dict)
    ensemble: tuple[str, ...] = ()  # methods whose scores are averaged


@dataclass(frozen=True, kw_only=True)
class RowEntry:
    """One row, or a heading.

    Attributes:
        group: A heading over the rows that follow; then nothing else is given.
        stub: What names the row.
        published: ``row_label`` of its published numbers, or columns of the csv to values; None: nothing is published.
        method: Whose records fill it; "": none can.
        where: What a record's facts must be, on any data.
        paper: The same, on the paper's data alone.
        metrics: Column to the key of the metric, where it is not the column's.
        only: The columns it has cells in; None: all.
        on: ``any`` data, the ``paper``'s alone, or ``other`` data alone.
        recipe: How its weights are obtained on the paper's data (:mod:`avbench.recipes.recipe`); ``{method}`` in it
            stands for the method; "": nothing is said of it.
        spans: Cells over several rows or columns that begin here.
        values: Table 4: see :mod:`avbench.report.tables.hyperparameters`.
        other: On other data: ``stub``, ``where``, ``metrics`` or ``only`` in place of those above.
        control: It is there to compare with: never the best or the second.
        ours: Its recipe is ours, as the paper does not state its own or it cannot be had: its numbers are marked.
    """

    group: str = ""
    stub: tuple[str, ...] = ()
    published: Mapping[str, Any] | None = None
    method: str = ""
    where: Where = field(default_factory=dict)
    paper: Where = field(default_factory=dict)
    metrics: Mapping[int, str] = field(default_factory=dict)
    only: tuple[int, ...] | None = None
    on: str = "any"
    recipe: str = ""
    spans: tuple[SpanEntry, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=dict)
    control: bool = False
    ours: bool = False


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """A table as its file describes it.

    Attributes:
        id: The name of the file.
        title: Such as ``Table 1``.
        caption: What it shows.
        stub: Headers of the columns that name rows.
        paper: The file of published numbers.
        table: The table there.
        columns: The columns.
        rows: The rows.
        on: ``any`` data or the ``paper``'s alone.
        other_columns: The columns on other data; none: these, where several data sets become one.
        other_caption: The caption on other data; "": the same.
        other_stub: ``stub`` on other data; none: the same.
        notes: Sentences below the table.
        kind: ``records``, or ``settings`` for Table 4.
    """

    id: str
    title: str
    caption: str
    stub: tuple[str, ...]
    paper: str
    table: str
    columns: tuple[ColumnEntry, ...]
    rows: tuple[RowEntry, ...]
    on: str = "any"
    other_columns: tuple[ColumnEntry, ...] = ()
    other_caption: str = ""
    other_stub: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kind: str = "records"


def names() -> list[str]:
    """Returns the ids of all tables, in the paper's order."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=_order)


def _order(name: str) -> tuple[int, str]:
    number = name.removeprefix("table_")
    return (0, number) if number[:1].isdigit() else (1 + (number == "summary"), number)


@functools.cache
def load(name: str) -> TableEntry:
    """Returns one entry.

    Raises:
        InputError: No such table, or its file has a key that is not one.
    """
    if name not in names():
        raise unknown("table", name, names())
    return read(FOLDER / f"{name}.yaml")


def read(path: Path) -> TableEntry:
    """Reads a file.

    Raises:
        InputError: It is not an entry.
    """
    try:
        return _entry(path.stem, read_yaml(path))
    except (InputError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path.name}: {error}") from None


ENTRY = ("title", "caption", "stub", "paper", "table", "columns", "rows", "for", "other", "notes", "kind", "defaults")
COLUMN = ("label", "columns", "metric", "task", "data", "subset", "where", "paper", "direction", "published", "n")
COLUMN_ENDS = ("presets", "sets", "setting", "other")
ROW = (
    *("group", "stub", "published", "method", "where", "paper", "metrics", "only"),
    *("for", "recipe", "spans", "values", "other", "control", "ours"),
)


def _entry(name: str, values: Mapping[str, Any]) -> TableEntry:
    _known(values, ENTRY, "entry")
    defaults = values.get("defaults", {})
    _known(defaults, ("paper", "recipe", "column"), "defaults")
    columns = _columns(values["columns"], defaults.get("column"))
    other = values.get("other", {})
    _known(other, ("columns", "caption", "stub"), "other")
    rows = tuple(_row(row, defaults) for row in values["rows"])
    for row in rows:
        if not row.group and len(row.stub) != len(values["stub"]):
            raise InputError(f"row {row.stub}: found {len(row.stub)} names, valid: {len(values['stub'])}, as 'stub'.")
    return TableEntry(
        id=name,
        title=values["title"],
        caption=values["caption"],
        stub=tuple(values["stub"]),
        paper=values["paper"],
        table=str(values["table"]),
        columns=columns,
        rows=rows,
        on=values.get("for", "any"),
        other_columns=_columns(other.get("columns", []), {**defaults.get("column", {}), "published": {}}),
        other_caption=other.get("caption", ""),
        other_stub=tuple(other.get("stub", ())),
        notes=tuple(values.get("notes", ())),
        kind=values.get("kind", "records"),
    )


def _columns(given: list[Mapping[str, Any]], above: Mapping[str, Any] | None = None) -> tuple[ColumnEntry, ...]:
    """Returns the columns below a header, each with what the header says of all of them."""
    found: list[ColumnEntry] = []
    for values in given:
        _known(values, (*COLUMN, *COLUMN_ENDS), "columns")
        merged = {**(above or {}), **{key: value for key, value in values.items() if key not in ("label", "columns")}}
        for key in ("where", "paper", "published"):
            merged[key] = {**(above or {}).get(key, {}), **values.get(key, {})}
        merged["labels"] = (*(above or {}).get("labels", ()), str(values["label"]))
        if "data" in values:
            merged["data_level"] = len(merged["labels"]) - 1
        if "columns" in values:
            found += _columns(values["columns"], merged)
        else:
            merged["data"], merged["presets"] = (_words(merged.get(key, ())) for key in ("data", "presets"))
            merged["published"] = _texts(merged["published"])
            _known(merged.get("other", {}), ("task", "metric", "where"), "columns: other")
            found.append(ColumnEntry(**merged))
    return tuple(found)


def _row(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> RowEntry:
    _known(values, ROW, "rows")
    if "group" in values:
        return RowEntry(group=values["group"], on=values.get("for", "any"))
    stub = tuple(str(word) for word in values["stub"])
    label = values.get("published", stub[0])
    own = {} if values.get("where", {}).get("weights") == "untrained" else defaults
    spans = [
        SpanEntry(
            **{**span, "published": _texts(span.get("published", {})), "ensemble": _words(span.get("ensemble", ()))}
        )
        for span in values.get("spans", ())
    ]
    other = dict(values.get("other", {}))
    _known(other, ("stub", "where", "metrics", "only"), "rows: other")
    for key in ("stub", "only"):
        if key in other:
            other[key] = tuple(other[key])
    if "metrics" in other:
        other["metrics"] = _by_column(other["metrics"])
    paper = {} if "method" not in values else {**defaults.get("paper", {}), **values.get("paper", {})}
    return RowEntry(
        stub=stub,
        published=None
        if label in (None, False)
        else _texts(label if isinstance(label, dict) else {"row_label": label}),
        method=values.get("method", ""),
        where=values.get("where", {}),
        paper=paper,
        metrics=_by_column(values.get("metrics", {})),
        only=tuple(values["only"]) if "only" in values else None,
        on=values.get("for", "any"),
        recipe="" if values.get("control") else values.get("recipe", own.get("recipe", "")),
        spans=tuple(spans),
        values=values.get("values", {}),
        other=other,
        control=bool(values.get("control", False)),
        ours=bool(values.get("ours", False)),
    )


def _known(values: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in keys:
            raise InputError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), keys)} Valid: {', '.join(keys)}.")


def _by_column(values: Mapping[str, str]) -> dict[int, str]:
    return {int(column): metric for column, metric in values.items()}


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(map(str, v)) if isinstance(v, list) else str(v) for key, v in values.items()}

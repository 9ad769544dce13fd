"""Table 4: the settings of the presets themselves, beside those that the paper states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from avbench.config import FinetuneConfig, InputConfig, TrainConfig
from avbench.recipes import presets
from avbench.report.tables import published
from avbench.report.tables.entry import ColumnEntry, RowEntry, TableEntry
from avbench.report.tables.table import Cell, Column, RowGroup, Table, TableRow
from avbench.settings import to_dict

UNLIKE = "other_settings"
TIMES = "x"  # between the shares of a batch and the clips of each
Settings = dict[str, dict[str, Any]]


def build(entry: TableEntry) -> Table:
    """Returns the table: what a preset has, and in brackets the published value where it is another."""
    settings = [_settings(column) for column in entry.columns]
    rows: list[RowGroup | TableRow] = []
    for row in entry.rows:
        cells = [_cell(row, column, values) for column, values in zip(entry.columns, settings, strict=True)]
        for span in row.spans:
            texts = {(cell.text, cell.published_text) for cell in cells[span.column : span.column + span.columns]}
            if len(texts) == 1:
                first = cells[span.column]
                cells[span.column] = Cell(**{**vars(first), "columns": span.columns})
                for i in range(span.column + 1, span.column + span.columns):
                    cells[i] = Cell(covered=True, runnable=False)
        rows.append(TableRow(stub=row.stub, cells=tuple(cells)))
    names = ", ".join(dict.fromkeys(column.setting for column in entry.columns))
    return Table(
        id=entry.id,
        title=entry.title,
        caption=entry.caption,
        data=None,
        stub=entry.stub,
        columns=tuple(Column(labels=column.labels) for column in entry.columns),
        rows=tuple(rows),
        notes=(f"From the presets {names}. In brackets: as published, where it is written otherwise.", *entry.notes),
    )


def _settings(column: ColumnEntry) -> Settings:
    """Returns all settings of a preset, defaults included."""
    preset = presets.load(column.setting)
    task = preset.get(presets.TASKS, {}).get("classification", {})
    return {
        "train": {**to_dict(TrainConfig()), **preset.get("train", {})},
        "task": {**to_dict(FinetuneConfig()), **task},
        "input": {**to_dict(InputConfig()), **preset.get("input", {})},
        "stage": {"name": "finetune" if presets.TASKS in preset else "pretrain"},
    }


def _cell(row: RowEntry, column: ColumnEntry, settings: Settings) -> Cell:
    number = published.find(
        published.SETTINGS, "4", hyperparameter=row.stub[0], setting=str(column.published["setting"])
    )
    printed = number.text if number is not None else ""
    key = row.values.get(settings["stage"]["name"], row.values.get("both"))
    if key is None:
        return Cell(text=printed, runnable=False)
    text = FORMS[row.values.get("form", "plain")](_look_up(key, settings), settings)
    alike = text == printed or (TIMES not in text and _number(text) == _number(printed))
    return Cell(text=printed if alike else text, published_text="" if alike else printed, runnable=False)


def _look_up(key: str, settings: Settings) -> Any:
    section, dot, name = key.partition(".")
    return settings[section][name] if dot else key


def _number(text: str) -> float | str:
    """Returns a number as printed, rounded as there; a product such as 4x27 multiplied out."""
    try:
        found = 1.0
        for factor in text.split(TIMES):
            found *= float(factor)
    except ValueError:
        return text
    return round(found, 3) if abs(found) >= 1 else found


def _plain(value: Any, settings: Mapping[str, Any]) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _optimizer(value: Any, settings: Settings) -> str:
    own = settings[value]
    betas = ", ".join(f"{beta:g}" for beta in own["betas"])
    decay = f"{own['weight_decay']:.0e}".replace("e-0", "e-")
    return f"{own['optimizer'].capitalize()}, weight decay={decay}, betas=({betas})"


def _scientific(value: Any, settings: Mapping[str, Any]) -> str:
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def _head(value: Any, settings: Settings) -> str:
    return _scientific(settings["task"]["lr"] * settings["task"]["head_lr_ratio"], settings)


def _batch(value: Any, settings: Settings) -> str:
    """Returns a batch as the paper writes it, 4x27: the passes, each of which contrasts its own clips."""
    passes = settings["train"]["accumulate"] if settings["stage"]["name"] == "pretrain" else 1
    return str(value) if passes == 1 else f"{passes}{TIMES}{value // passes}"


def _above_zero(value: Any, settings: Mapping[str, Any]) -> str:
    return "Yes" if value > 0 else "No"


def _upper(value: Any, settings: Mapping[str, Any]) -> str:
    return str(value).upper()


FORMS: dict[str, Callable[[Any, Settings], str]] = {
    "plain": _plain,
    "optimizer": _optimizer,
    "scientific": _scientific,
    "head": _head,
    "batch": _batch,
    "above_zero": _above_zero,
    "upper": _upper,
}

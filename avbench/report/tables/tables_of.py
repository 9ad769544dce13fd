"""Tables of a results folder as plain data; :mod:`avbench.report.tables.formats` renders them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avbench.errors import InputError
from avbench.report.records import Records
from avbench.report.tables import entry, hyperparameters
from avbench.report.tables.cells import Builder
from avbench.report.tables.table import Cell, Column, RowGroup, Table, TableRow


def tables_of(
    results: Path, ids: Sequence[str] = (), data: str | None = None, builder: Builder | None = None
) -> list[Table]:
    """Returns tables filled from the records of a results folder, which may have none.

    Args:
        results: The results folder.
        ids: Which tables; none: all that make sense on the data.
        data: A data set by name; None: those of the papers, each number beside the published one.
        builder: What has read the results already.

    Raises:
        InputError: An unknown table, or one that is about the papers' data sets alone.
    """
    chosen = choose(ids, data)
    builder = builder or Builder(Records(results))
    found = [hyperparameters.build(each) if each.kind == "settings" else builder.build(each, data) for each in chosen]
    builder.judge.save()
    return found


def choose(ids: Sequence[str], data: str | None) -> list[entry.TableEntry]:
    """Returns the entries of tables; none named: all that make sense on the data.

    Raises:
        InputError: An unknown table, or one that is about the papers' data sets alone.
    """
    chosen = [entry.load(name) for name in ids or entry.names()]
    if data is None:
        return chosen
    for each in chosen if ids else ():
        if each.on == "paper":
            raise InputError(f"table {each.id}: it is about the papers' data sets, valid: without --data.")
    return [each for each in chosen if each.on != "paper"]


__all__ = ["Cell", "Column", "RowGroup", "Table", "TableRow", "choose", "tables_of"]

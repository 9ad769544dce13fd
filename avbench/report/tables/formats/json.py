"""JSON: the table as data, from which every other format can be made again."""

from __future__ import annotations

import json
from pathlib import Path

from avbench.errors import InputError
from avbench.files import Damaged, read_json
from avbench.report.tables.table import SCHEMA, Table

SUFFIX = ".json"


def render(table: Table) -> str:
    """Returns the table as JSON."""
    return json.dumps(table.to_dict(), indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Table:
    """Returns a table that :func:`render` wrote.

    Raises:
        InputError: The file is none.
    """
    try:
        values = read_json(path)
        if values["schema"] != SCHEMA:
            raise InputError(f"{path}: found a table of schema {values['schema']}, valid: {SCHEMA}; make it again.")
        return Table.from_dict(values)
    except (Damaged, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a table as JSON ({error}); make it again: avbench tables --format json."
        ) from None

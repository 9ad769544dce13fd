"""Renderers: a table as data to text. A format is one module with ``SUFFIX`` and ``render(table)``."""

from __future__ import annotations

import importlib
from types import ModuleType

from avbench.errors import unknown

FORMATS = ("latex", "markdown", "csv", "html", "terminal", "json")


def find(name: str) -> ModuleType:
    """Returns the module of a format.

    Raises:
        InputError: There is no such format.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return importlib.import_module(f"avbench.report.tables.formats.{name}")

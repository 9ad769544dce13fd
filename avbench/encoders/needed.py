"""Packages that adapters need and that are not installed with avbench."""

from __future__ import annotations

import importlib
from typing import Any

from avbench.errors import InputError


def needed(module: str, encoder: str, fix: str) -> Any:
    """Returns a module of another package.

    Args:
        module: Its name.
        encoder: What needs it.
        fix: How to get it.

    Raises:
        InputError: It is not there, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--encoder {encoder}: {module} cannot be imported ({error}); {fix}.") from None

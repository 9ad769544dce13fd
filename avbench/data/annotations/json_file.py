"""Reading the JSON of an annotation file, with errors that name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from avbench.errors import InputError


def read_json(path: Path) -> Any:
    """Returns the values of a JSON file.

    Raises:
        InputError: It is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; valid: an annotation file (docs/tasks.md, Localization).") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({str(error).splitlines()[0]}).") from None


def read_entries(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the entries of a JSON list of objects, each of which has all the ``keys``.

    Raises:
        InputError: It is something else; the first entry that lacks a key is named.
    """
    found = read_json(path)
    if not isinstance(found, list):
        raise InputError(f"{path}: found {type(found).__name__}, valid: a list of objects with {', '.join(keys)}.")
    for place, entry in enumerate(found):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise InputError(
                f"{path}: entry {place} lacks {', '.join(missing)}; valid: objects with {', '.join(keys)}."
            )
    return found

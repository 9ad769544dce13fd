"""What finished stages say of themselves, read from their folders or from archives."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from avbench.files import Damaged, parse_json
from avbench.store import seal
from avbench.store.archive import kept_text
from avbench.store.records import stage_folder

LOG = "metrics.csv"


def done(results: Path, stage: str, name: str) -> dict[str, Any]:
    """Returns what a finished stage says of itself.

    Args:
        results: The results folder.
        stage: Such as ``pretrain``.
        name: Its id.

    Raises:
        Damaged: It is gone, or not what a stage writes.
    """
    folder = stage_folder(results, stage, name)
    try:
        return seal.read_done(folder)
    except Damaged:
        text = None if folder.exists() else kept_text(results, _below(stage, name, seal.DONE))
        if text is None:
            raise
        found: dict[str, Any] = parse_json(text, folder / seal.DONE)
        return found


def course(results: Path, stage: str, name: str) -> list[dict[str, str]]:
    """Returns the lines of a training's log; none where there is none.

    Args:
        results: The results folder.
        stage: Such as ``pretrain``.
        name: Its id.

    Raises:
        Damaged: It is not what was written, or no table.
    """
    path = stage_folder(results, stage, name) / LOG
    try:
        if path.exists():
            seal.check_file(path)
            text = path.read_text(encoding="utf-8")
        else:
            text = (kept_text(results, _below(stage, name, LOG)) or b"").decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise Damaged(f"{path}: cannot be read ({' '.join(str(error).split())}).", path) from None


def _below(stage: str, name: str, file: str) -> str:
    return f"stages/{stage}/{name}/{file}"

"""``avbench list``: what there is, without importing torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from avbench import registry


@dataclass(frozen=True, kw_only=True)
class Command:
    """Lists methods, tasks, data, presets or runs."""

    what: tyro.conf.Positional[Literal["methods", "tasks", "data", "presets", "runs"]]
    """What to list."""
    results: Path = Path("results")
    """The results folder, for runs."""

    def execute(self) -> int:
        """Prints the list, one line each."""
        listing = {"methods": _methods, "tasks": _tasks, "data": _data, "presets": _presets}
        rows = _runs(self.results) if self.what == "runs" else listing[self.what]()
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            sys.stdout.write(f"{name:<{width}}  {text}\n")
        return 0


def _origin(entry: registry.Entry) -> str:
    return "" if entry.origin == "avbench" else f" [from {entry.origin}]"


def _methods() -> list[tuple[str, str]]:
    rows = []
    for name, entry in registry.entries("method").items():
        card = entry.card
        facts = "; ".join(f"{key}: {', '.join(card[key]) or 'none'}" for key in ("modalities", "objectives", "tasks"))
        if card.get("parameters"):
            facts += f"; {card['parameters'] / 1e6:.1f} M parameters at base size"
        rows.append((name, f"{card['summary']} ({facts}){_origin(entry)}"))
    return rows


def _tasks() -> list[tuple[str, str]]:
    return [(name, f"{entry.card['summary']}{_origin(entry)}") for name, entry in registry.entries("task").items()]


def _data() -> list[tuple[str, str]]:
    return [
        ("soundshapes", "embedded set: moving shapes that sound, generated on this machine"),
        ("FOLDER", "videos (sub-folder = label), a CSV with file,label[,split], or a prepared folder"),
        ("FILE.json", "the authors' manifest: wav + frame_i/ID.jpg, read in place"),
    ]


def _presets() -> list[tuple[str, str]]:
    from avbench import presets

    return [(name, str(presets.load(name)["summary"])) for name in presets.names()]


def _runs(results: Path) -> list[tuple[str, str]]:
    from avbench import store

    return [
        (
            record["id"],
            (
                f"{record['method']} {record['task']} on {record['data']}, {record['weights']}, seed {record['seed']},"
                f" n = {record['n']}, {record['created']}"
            ),
        )
        for record in store.records(results)
    ]

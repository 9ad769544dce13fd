"""``avbench list``: what there is, without importing torch.

Parsed by argparse and not, as the other commands, by tyro: importing tyro takes longer than all of the listing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from avbench import registry
from avbench.errors import InputError, unknown

_READ = ("methods", "encoders", "tasks", "data", "recipes", "presets", "weights", "settings", "tables", "figures")
LISTS = (*_READ, "runs")
FILTERS = ("method", "task", "data", "weights")  # facts of a record, by which runs are chosen


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. See: {self.prog} --help")


@dataclass(frozen=True, kw_only=True)
class Command:
    """Lists methods, encoders, tasks, data, recipes, presets, initial weights, settings, tables, figures or runs."""

    what: str
    names: tuple[str, ...] = ()
    results: Path = Path("results")
    method: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    format: Literal["text", "markdown"] = "text"

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> Command:
        """Reads the options.

        Raises:
            InputError: They are not understood.
        """
        parser = _Parser(prog=program, description=cls.__doc__, allow_abbrev=False)
        parser.add_argument("what", help=f"what to list: {', '.join(LISTS)}")
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help="settings: a section (train), the start of a key (method.lam), a name (lambda_c), a method or a task",
        )
        parser.add_argument("--results", type=Path, default=Path("results"), help="runs: the results folder")
        for name in FILTERS:
            also = [f"--{name}s"] if name in ("method", "task") else []
            text = f"runs: only these {name if name in ('data', 'weights') else name + 's'}"
            parser.add_argument(f"--{name}", *also, nargs="+", default=[], metavar="NAME", help=text)
        parser.add_argument(
            "--format", choices=("text", "markdown"), default="text", help="settings: as text or a page"
        )
        options = parser.parse_args(arguments)
        if options.what not in LISTS:
            raise unknown("list", options.what, LISTS)
        given = {name: tuple(getattr(options, name)) for name in FILTERS}
        if options.names and options.what != "settings":
            raise InputError(f"list {options.what}: found '{options.names[0]}', valid: no name; settings takes some.")
        if options.what != "runs" and (wrong := next((name for name, values in given.items() if values), None)):
            raise InputError(f"--{wrong}: found with list {options.what}, valid: with list runs.")
        return cls(
            what=options.what, names=tuple(options.names), results=options.results, format=options.format, **given
        )

    def execute(self) -> int:
        """Prints the list, one line each; of settings three."""
        if self.what == "settings":
            return self._settings()
        listing = {"methods": _methods, "encoders": _encoders, "tasks": _tasks, "data": _data, "presets": _presets}
        listing |= {"recipes": _recipes, "weights": _weights, "tables": _tables, "figures": _figures}
        rows = self._runs() if self.what == "runs" else listing[self.what]()
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            sys.stdout.write(f"{name:<{width}}  {text}\n")
        return 0

    def _settings(self) -> int:
        from avbench.commands import settings

        if self.format == "markdown":
            sys.stdout.write(settings.page())
            return 0
        found = [each for name in self.names or ("",) for each in settings.settings(name)]
        sys.stdout.write("".join(f"{line}\n" for each in dict.fromkeys(found) for line in each.lines()))
        return 0

    def _runs(self) -> list[tuple[str, str]]:
        from avbench.store import index
        from avbench.store.archive import archives

        rows, old = index.read(self.results).rows, frozenset[str]()
        if archives(self.results):
            from avbench.running.current import stale

            old = stale(rows, self.results)
        chosen = [
            row
            for row in rows
            if all(getattr(row, name) in getattr(self, name) for name in FILTERS if getattr(self, name))
        ]
        if not chosen:  # on standard error, so that a list that is piped stays empty
            other = "no runs are recorded there; --results names the folder of those to list"
            sys.stderr.write(f"{self.results}: {f'none of its {len(rows)} runs is as asked for' if rows else other}.\n")
        return [
            (
                row.id,
                (
                    f"{row.method} {row.task} on {row.data}, {row.weights}, seed {row.seed}, n = {row.n},"
                    f" {row.created}{', stale' if row.id in old else ''}"
                ),
            )
            for row in chosen
        ]


def _origin(entry: registry.Component) -> str:
    return "" if entry.origin == "avbench" else f" [from {entry.origin}]"


def _methods() -> list[tuple[str, str]]:
    rows = []
    for name, entry in registry.entries("method").items():
        card = entry.card
        told = {key: card.get(key, ()) for key in ("modalities", "objectives")} | {"tasks": registry.tasks_of(entry)}
        facts = "; ".join(f"{key}: {', '.join(values) or 'none'}" for key, values in told.items())
        if card.get("parameters"):
            facts += f"; {card['parameters'] / 1e6:.1f} M parameters at base size"
        rows.append((name, f"{card['summary']} ({facts}){_origin(entry)}"))
    return rows


def _encoders() -> list[tuple[str, str]]:
    from avbench.registry import encoders

    return [
        *sorted(encoders.names().items()),
        ("FILE.py:Class", "a subclass of avbench.Encoder (docs/guides/encoder.md)"),
        ("PACKAGE.MODULE:Class", "likewise, in a package that is installed or in this folder"),
    ]


def _tasks() -> list[tuple[str, str]]:
    rows = []
    for name, entry in registry.entries("task").items():
        methods = f"methods: {', '.join(registry.methods_for(entry)) or 'none'}"
        of = "any record or file of scores: evaluate --run" if registry.of_records(entry) else methods
        rows.append((name, f"{entry.card['summary']} ({of}){_origin(entry)}"))
    return rows


def _data() -> list[tuple[str, str]]:
    from avbench.data.catalogue.entry import entry, names
    from avbench.data.locate import AUTHORS, PREPARED, set_folder

    def here(name: str) -> str:
        folder = set_folder(name)
        ready = (folder / PREPARED).is_file() or (folder / AUTHORS).is_file()
        return f" [prepared here: {folder}]" if ready else ""

    sets = sorted(map(entry, names()), key=lambda found: (bool(found.lists), found.name))  # what needs no files first
    return [
        *((found.name, f"{found.facts}{here(found.name)}") for found in sets),
        ("FOLDER", "videos, sounds or pictures (sub-folder = label), a CSV file,label[,split], or a prepared folder"),
        ("FILE.json", "the authors' manifest: wav + frame_i/ID.jpg, or one of these, read in place"),
    ]


def _presets() -> list[tuple[str, str]]:
    from avbench.recipes import presets

    return [(name, str(presets.load(name)["summary"])) for name in presets.names()]


def _recipes() -> list[tuple[str, str]]:
    from avbench.recipes import recipe

    rows = []
    for name in recipe.names():
        each = recipe.load(name)
        facts = [f"data: {each.data or 'any'}", f"preset: {', '.join(each.preset)}"]
        facts += [f"from: {each.init}"] if each.init else []
        facts += [f"{key}: {value}" for key, value in each.set.items()]
        rows.append((name, f"{each.summary} ({'; '.join(facts)})"))
    return rows


def _weights() -> list[tuple[str, str]]:
    from avbench.recipes import initial_weights

    place = initial_weights.folder()
    return [
        (name, f"{each.summary} ({' or '.join(each.files)} in {place}{f', or timm:{each.timm}' if each.timm else ''})")
        for name, each in initial_weights.known().items()
    ]


def _tables() -> list[tuple[str, str]]:
    from avbench.report.tables import entry

    return [(name, entry.load(name).title) for name in entry.names()]


def _figures() -> list[tuple[str, str]]:
    cards = {name: entry.card for name, entry in registry.entries("figure").items()}
    return [
        (name, card["title"] + (f" ({card['source']})" if card.get("source") else ""))
        for name, card in sorted(cards.items(), key=lambda item: (item[1].get("order", 100), item[0]))
    ]

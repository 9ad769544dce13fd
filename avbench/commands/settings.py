"""What can be set: every setting with type, range, default, meaning and whose it is, as text or as a page.

The sections data, input, model and train are read without torch; methods and tasks are imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from avbench import config, registry
from avbench.errors import unknown
from avbench.settings import Settings, valid

SECTIONS = {
    "data": config.DataConfig,
    "input": config.InputConfig,
    "model": config.ModelConfig,
    "train": config.TrainConfig,
}
OF = {"method": "methods", "task": "tasks"}  # sections whose settings depend on which one is chosen


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One setting in words.

    Attributes:
        key: What ``--set`` calls it.
        valid: Its type and range.
        default: Its default, as YAML has it.
        meaning: What it does, with unit and source.
        owners: The methods or tasks that have it with this default; empty: every run.
        identity: Whether it can change a result, so that it is part of run ids.
    """

    key: str
    valid: str
    default: str
    meaning: str
    owners: tuple[str, ...] = ()
    identity: bool = True

    def lines(self) -> list[str]:
        """Returns it as lines of text."""
        owners = f"of {', '.join(self.owners)}; " if self.owners else ""
        outside = "" if self.identity else "; does not affect run ids"
        return [
            f"{self.key} = {self.default}",
            f"    {self.meaning}",
            f"    {owners}valid: {self.valid}{outside}",
        ]


def settings(chosen: str = "") -> list[Explained]:
    """Returns settings in words.

    Args:
        chosen: A section (``train``), the start of a key (``method.lambda``), a setting's name (``lambda_c``), or a
            method or task (``cavmae``); "": all.

    Raises:
        InputError: No setting, method or task is called so.
    """
    section, _, name = chosen.partition(".")
    for part in OF:
        named = name if section == part else chosen
        if named in registry.entries(_kind(part)):
            return _grouped(part, (named,))
    found = [each for of, cls in SECTIONS.items() for each in _of(of, cls)]
    if section not in SECTIONS:
        found += [each for part in OF for each in _grouped(part, tuple(registry.entries(_kind(part))))]
    matching = [each for each in found if each.key.startswith(chosen) or each.key.endswith(f".{chosen}")]
    if not matching:
        raise unknown(
            "setting", chosen, dict.fromkeys([*(each.key.partition(".")[2] for each in found), *SECTIONS, *OF])
        )
    return matching


def page() -> str:
    """Returns all settings as a page in Markdown."""
    lines = [
        "# Settings",
        "",
        "Every setting of a run, from the code. `avbench list settings` prints the same, `avbench list settings",
        "cavmae` or `avbench list settings train.lr` a part of it. Set one with `--set train.steps=200`; the",
        "section may be left out where the name is unique: `--set lambda_c=0.1`. Presets (`avbench list presets`)",
        "and `--config FILE.yaml` hold several. Quote lists for the shell: `--set 'task.ratios=[0.5,0.75]'`.",
        "Settings marked * do not affect run ids.",
    ]
    titles = {"data": "Data", "input": "Input", "model": "Model", "train": "Pretraining"}
    titles |= {"method": "Methods", "task": "Tasks"}
    for section, title in titles.items():
        lines += ["", f"## {title}: `{section}`", ""]
        lines += ["| setting | default | valid | meaning |", "| --- | --- | --- | --- |"]
        for each in settings(f"{section}."):
            owners = f" ({', '.join(each.owners)})" if each.owners else ""
            cells = (
                f"`{each.key}`{'' if each.identity else ' *'}",
                f"`{each.default}`",
                each.valid,
                each.meaning + owners,
            )
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _kind(section: str) -> registry.Kind:
    return "method" if section == "method" else "task"


def _of(section: str, cls: type[Settings], owner: str = "") -> Iterator[Explained]:
    given = cls()
    for field in dataclasses.fields(cls):
        default = getattr(given, field.name)
        if isinstance(default, Settings):
            yield from _of(f"{section}.{field.name}", type(default), owner)
            continue
        yield Explained(
            key=f"{section}.{field.name}",
            valid=valid(cls, field),
            default=_written(default),
            meaning=field.metadata["help"],
            owners=(owner,) if owner else (),
            identity=field.metadata["identity"],
        )


def _grouped(section: str, names: tuple[str, ...]) -> list[Explained]:
    """Returns the settings of methods or tasks; one that several share alike is one entry."""
    found: dict[Explained, list[str]] = {}
    for name in names:
        loaded = registry.find(_kind(section), name).load()
        for each in _of(section, loaded.CONFIG, name):
            found.setdefault(dataclasses.replace(each, owners=()), []).append(name)
    entries = [dataclasses.replace(each, owners=tuple(owners)) for each, owners in found.items()]
    return sorted(entries, key=lambda each: each.key) if len(names) > 1 else entries


def _written(value: Any) -> str:
    """Returns a default as YAML has it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) or '""'

"""Recipes: how weights are obtained, as data. Initial weights, then pretraining of a method on data with settings.

Files beside this one hold them by name: ``cavmae/scale+`` is the entry ``scale+`` of ``cavmae.yaml``. Tables' rows,
sweeps, the commands that fill empty cells and ``--recipe`` all mean these. Numbers that several recipes share are a
preset's; a recipe names it and says what it changes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.config import SECTIONS
from avbench.errors import InputError, did_you_mean, unknown
from avbench.recipes import initial_weights, presets
from avbench.settings import Settings, build, change, setting, shown
from avbench.yaml_text import read_yaml

FOLDER = Path(__file__).parent
METHOD = "{method}"  # in a recipe's name: that of the row or trial
NONE = "none"  # initial weights: random ones, also where a preset names others


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """One recipe.

    Attributes:
        start: The recipe that its initial weights come from; None: they are no recipe's.
    """

    name: str = setting("", "file and entry, such as cavmae/base; empty: written where it is used")
    summary: str = setting("", "what it is, in a line, with the paper's table")
    method: str = setting("", "the method that is trained; empty: that of the sweep")
    data: str = setting("", "what it is trained on; empty: what the run is about")
    preset: tuple[str, ...] = setting((), "whose settings it has, later over earlier")
    init: str = setting("", "initial weights by name, none for random ones, or a recipe; empty: as the preset says")
    set: Mapping[str, Any] = field(default_factory=dict)  # settings over the preset's, as train.epochs: 12
    start: Recipe | None = None  # the recipe that init names

    @property
    def chain(self) -> tuple[Recipe, ...]:
        """It and the recipes whose weights it starts from, the first first."""
        return (*(self.start.chain if self.start is not None else ()), self)

    @property
    def weights(self) -> str:
        """The initial weights of the first of its chain; ``none``: random ones."""
        given = [layer["train"]["init"] for _, layer in self.chain[0].layers() if "init" in layer.get("train", {})]
        return (given[-1] if given else "") or NONE

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """What it sets itself, over its presets, by section."""
        found: dict[str, dict[str, Any]] = {}
        for key, value in self.set.items():
            section, _, leaf = key.partition(".")
            found.setdefault(section, {})[leaf] = value
        if self.init and self.start is None:
            found.setdefault("train", {})["init"] = "" if self.init == NONE else self.init
        return found

    def layers(self, task: str = "") -> list[tuple[str, dict[str, Any]]]:
        """Returns the layers of its settings, each with what errors call it, later over earlier.

        Args:
            task: Whose settings of the presets count; empty: no task's.
        """
        found: list[tuple[str, dict[str, Any]]] = []
        for name in self.preset:
            preset = presets.load(name)
            found += [(f"preset {name}: ", layer) for layer in presets.layers(preset, self.method, task)]
        return [*found, (f"recipe {self.name}: ", self.sections)]


KEYS = ("summary", "from", "method", "data", "preset", "init", "set")


@functools.cache
def names() -> list[str]:
    """Returns the names of all recipes, file by file as they stand there."""
    return [f"{path.stem}/{key}" for path in sorted(FOLDER.glob("*.yaml")) for key in _entries(path)]


@functools.cache
def load(name: str) -> Recipe:
    """Returns one recipe.

    Raises:
        InputError: No such recipe, or its file has something that is not one.
    """
    if name not in names():
        raise unknown("recipe", name, names())
    file, _, entry = name.partition("/")
    return read(_entry(name), f"{file}.yaml: {entry}", name)


def find(name: str, method: str) -> Recipe:
    """Returns the recipe of a row or trial, in whose name ``{method}`` stands for its method.

    Raises:
        InputError: No such recipe, or it is another method's.
    """
    found = load(name.replace(METHOD, method))
    if method and found.method != method:
        raise InputError(f"recipe {found.name}: found method {method}, valid: {found.method}, which it trains.")
    return found


def read(values: Any, where: str, name: str = "") -> Recipe:
    """Reads a recipe from what a file has.

    Args:
        values: A mapping of its keys; or, where it has no name, the name of one.
        where: What errors call it: file and key.
        name: Its own name; empty: it is written where it is used.

    Raises:
        InputError: A key, a type, a name or a setting that is not one.
    """
    if isinstance(values, str) and not name:
        try:
            return load(values)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: found {shown(values)}, valid: a mapping of {', '.join(KEYS)}.")
    for key in values:
        if key not in KEYS:
            raise InputError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), KEYS)} Valid: {', '.join(KEYS)}.")
    own = {key: value for key, value in values.items() if key != "from"}
    if "from" in values:
        own = _extended(own, values["from"], where)
    if isinstance(own.get("preset"), str):
        own["preset"] = (own["preset"],)
    init = own.get("init", "")
    if isinstance(init, Mapping) or (isinstance(init, str) and init in names()):
        _check_ends(init, where)
        own["start"] = read(init, f"{where}.init")
        own["init"] = own["start"].name or "another"
    try:
        found = build(Recipe, {**own, "name": name})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    _check(found, where)
    return found


def _extended(own: dict[str, Any], base: Any, where: str) -> dict[str, Any]:
    """Returns the keys of a recipe over those of the one that it extends, settings one by one."""
    if not isinstance(base, str) or base not in names():
        near = did_you_mean(base, names()) if isinstance(base, str) else ""
        raise InputError(f"{where}.from: found {shown(base)}, valid: a recipe (avbench list recipes).{near}")
    under = _entry(base)
    if not isinstance(under, Mapping) or "from" in under:
        raise InputError(f"{where}.from: found {base}, which extends another, valid: one that extends none.")
    sets = [each.get("set", {}) for each in (under, own)]
    if all(isinstance(each, Mapping) for each in sets):
        own = {**own, "set": {**sets[0], **sets[1]}}
    return {**under, **own}


def _check_ends(init: Any, where: str) -> None:
    """Refuses initial weights that come from each other in a circle, before the recipes are read one for another."""
    seen: list[str] = []
    at = init
    while isinstance(at, str) and at in names():
        if at in seen:
            raise InputError(
                f"{where}.init: found {init}, valid: a recipe whose chain has a start; {at} starts from itself."
            )
        seen.append(at)
        entry: Any = _entry(at)
        base = _entry(entry["from"]) if isinstance(entry, Mapping) and entry.get("from") in names() else {}
        at = next((each["init"] for each in (entry, base) if isinstance(each, Mapping) and "init" in each), "")


def _entry(name: str) -> Any:
    """Returns what the files hold of a recipe, as it stands there."""
    file, _, entry = name.partition("/")
    return _entries(FOLDER / f"{file}.yaml")[entry]


def _check(recipe: Recipe, where: str) -> None:
    """Refuses names of presets and weights that are none, and settings that cannot be, as far as needs no torch."""
    weights = (*initial_weights.known(), NONE)
    named = not recipe.init or recipe.start is not None or recipe.init in weights
    if not named and not recipe.init.startswith(initial_weights.TIMM) and not Path(recipe.init).is_file():
        raise InputError(
            f"{where}.init: found {shown(recipe.init)}, valid: {', '.join(weights)}, timm:NAME, a file, or a recipe."
            f"{did_you_mean(recipe.init, (*weights, *names()))}"
        )
    for key in recipe.set:
        section, dot, leaf = str(key).partition(".")
        if section not in presets.SECTIONS or not dot or not leaf:
            near = did_you_mean(section, presets.SECTIONS)
            raise InputError(
                f"{where}.set: unknown key '{key}'.{near} Valid: a setting of {', '.join(presets.SECTIONS)}, as"
                " train.epochs."
            )
        if key == "train.init":
            raise InputError(f"{where}.set: found 'train.init', valid: the key init next to 'set'.")
    try:
        sections = {name: cls() for name, cls in SECTIONS.items()}
        for _, layer in recipe.layers():
            for name in SECTIONS.keys() & layer.keys():
                sections[name] = change(sections[name], layer[name], name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


@functools.cache
def _entries(path: Path) -> dict[str, Any]:
    return read_yaml(path)


__all__ = ["KEYS", "METHOD", "NONE", "Recipe", "find", "load", "names", "read"]

"""Weights that pretraining starts from, by name: what file each is, where one gets it, and whether it is here.

``weights/known.yaml`` lists them. A file is found in the cache folder's ``weights`` by its usual name; a path is a
path. What goes where in a model is :mod:`avbench.training.initialization`'s.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from avbench.data.locate import cache_folder
from avbench.errors import InputError
from avbench.yaml_text import read_yaml

TIMM = "timm:"


class MissingWeights(InputError):
    """Initial weights that are known by name, and are not on this machine."""


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """One entry of the list.

    Attributes:
        name: What ``--init`` and ``train.init`` call it.
        summary: What it is.
        files: Its usual file names, the first found counts.
        get: Where one gets it, in words.
        exact: Whether the published rows that name such weights started from just these.
        timm: timm's name of the same weights; "": it has none.
        decoder: Whether it has one.
        clips: Whether it was trained on clips with sound, which then may be among the judged ones.
    """

    name: str
    summary: str
    files: tuple[str, ...]
    get: str
    exact: bool
    timm: str = ""
    decoder: bool = False
    clips: bool = False


@functools.cache
def known() -> dict[str, InitialWeights]:
    """Returns all entries by name."""
    listed = read_yaml(Path(__file__).parent / "weights" / "known.yaml")
    return {name: InitialWeights(name=name, **{**each, "files": tuple(each["files"])}) for name, each in listed.items()}


def folder() -> Path:
    """Returns where files of known names are looked for."""
    return cache_folder() / "weights"


def name_of(source: str) -> str:
    """Returns the name of what ``--init`` was given, also as a file of a usual name or as timm's; else "" ."""
    if source in known():
        return source
    file = Path(source).name
    for name, each in known().items():
        if source == f"{TIMM}{each.timm}" or file in each.files:
            return name
    return ""


def locate(source: str) -> str:
    """Returns a name's file, or timm's name of it; any other source as it is.

    Raises:
        MissingWeights: The name is known and its file is not here.
    """
    each = known().get(source)
    if each is None:
        return source
    for file in each.files:
        if (folder() / file).is_file():
            return str(folder() / file)
    if each.timm:
        return f"{TIMM}{each.timm}"
    raise MissingWeights(
        f"--init {source}: found no {' or '.join(each.files)} in {folder()}; get {each.get}, and put it there, or name"
        " the file: --init FILE (--init none: random weights)."
    )


__all__ = ["TIMM", "InitialWeights", "MissingWeights", "folder", "known", "locate", "name_of"]

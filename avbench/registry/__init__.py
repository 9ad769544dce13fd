"""Finds methods, tasks and figures by name: the package's own folders first, then plug-ins from other packages.

Nothing is imported to list them. A method file ``methods/NAME.py`` (or task file) assigns a literal
``CARD = Card(...)``, which is read from the source text, so ``avbench list`` answers without torch. Another package
adds one with an entry point in the group ``avbench.methods`` or ``avbench.tasks`` that names such a module.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from avbench.errors import RAISED, InputError, unknown
from avbench.files import canonical_json, sha256_text

if TYPE_CHECKING:
    from avbench.settings import Settings

Kind = Literal["method", "task", "figure"]
OWN = "avbench"  # where the package's own entries come from
ENCODER = "encoder"  # section of settings, in place of ``method``: the arguments of anybody's encoder
_PACKAGES: dict[Kind, str] = {"method": "methods", "task": "tasks", "figure": "report.figures"}
_HAS_CARD = re.compile(r"^CARD = \w*Card\(", re.MULTILINE)
_CARD = re.compile(r"^CARD = \w*Card\((?:\n.*?^\)|[^\n]*\))", re.MULTILINE | re.DOTALL)
_IN_CARD: dict[Kind, tuple[str, ...]] = {
    "method": ("summary", "modalities", "abilities"),
    "task": ("summary", "needs"),
    "figure": ("title",),
}


@dataclass(frozen=True)
class Component:
    """One method, task or figure, not yet imported."""

    name: str
    module: str
    path: Path
    origin: str  # "avbench", or the distribution a plug-in comes from
    kind: Kind = "method"
    section: ClassVar[str] = "method"  # of its settings; also what messages call it
    encoder: ClassVar[bool] = False  # whether it is anybody's encoder in place of a method

    @property
    def shown(self) -> str:
        """What records and tables call it."""
        return self.name

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """The literal keyword arguments of the module's ``CARD``.

        Raises:
            InputError: The module has no literal ``CARD``, or one that lacks something.
        """
        card = _read_card(self.path)
        if card is None:
            raise InputError(f"{self.module}: found no 'CARD = Card(...)' with literal arguments; add one.")
        lacking = [name for name in _IN_CARD[self.kind] if name not in card]
        if lacking:
            listed = " in place of tasks, which a method does not name" if "tasks" in card else ""
            raise InputError(
                f"{self.kind} '{self.name}' of {self.origin}: CARD has no {' and no '.join(lacking)}; add it{listed}"
                " (docs/guides)."
            )
        return card

    def load(self) -> ModuleType:
        """Imports the module (and with it torch, for methods), and checks that it has what its kind must have.

        Raises:
            InputError: It cannot be imported, or lacks something or contradicts itself.
        """
        return _load(self)[0]

    @functools.cached_property
    def config_class(self) -> type[Settings]:
        """The class of its options; of the package's own without the module, where that imports it from elsewhere."""
        found: type[Settings]
        if self.origin == OWN and (place := _imported_config(self.path)) is not None:
            found = getattr(importlib.import_module(place[0]), place[1])
        else:
            found = self.load().CONFIG
        return found

    @property
    def source(self) -> str:
        """One short hash of :attr:`sources`; of the package's own nothing."""
        return sha256_text(canonical_json(self.sources))[:12] if self.sources else ""

    @property
    def sources(self) -> dict[str, str]:
        """The hashes of the code from outside that it is made of, by package; of the package's own there is none.

        They are of the files as they were when the module was imported, so they stand for what runs.
        """
        return {} if self.origin == OWN else _load(self)[1]


@functools.cache
def _load(entry: Component) -> tuple[ModuleType, dict[str, str]]:
    """Returns an entry's module, checked, and what it is made of from outside the package."""
    if entry.origin == OWN:
        return importlib.import_module(entry.module), {}
    from avbench.registry.outside import outside

    try:
        module = importlib.import_module(entry.module)
    except RAISED as error:
        raise InputError(
            f"plug-in {entry.kind} '{entry.name}' of {entry.origin}: {entry.module} cannot be imported"
            f" ({type(error).__name__}: {error}); mend or remove its package."
        ) from error
    found = outside(module)
    if entry.kind == "method":
        from avbench.registry import contract

        for name in ("METHOD", "CONFIG"):
            if not hasattr(module, name):
                raise InputError(f"method '{entry.name}': {entry.module} has no {name}; assign its class.")
        contract.check(entry.name, module.METHOD, entry.card)
    return module, found


def _read_card(path: Path) -> dict[str, Any] | None:
    text = path.read_text(encoding="utf-8")
    found = _CARD.search(text)
    try:
        body = ast.parse(found[0] if found else text).body  # files whole are a quarter of the time of ``list methods``
    except SyntaxError:  # the match ended within a text of the card
        body = ast.parse(text).body
    for node in body:
        if (
            isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == "CARD" for target in node.targets)
            and isinstance(node.value, ast.Call)
        ):
            return {word.arg: ast.literal_eval(word.value) for word in node.value.keywords if word.arg}
    return None


def _imported_config(path: Path) -> tuple[str, str] | None:
    """Returns the module and the name of the class that a file assigns to CONFIG; None where it is its own."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    imported = {name.name: node.module for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            module = imported.get(node.value.id)
            if module and any(isinstance(each, ast.Name) and each.id == "CONFIG" for each in node.targets):
                return module, node.value.id
    return None


def _plug_ins(kind: Kind) -> list[Component]:
    entries = []
    for point in metadata.entry_points(group=f"avbench.{kind}s"):
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            raise InputError(
                f"plug-in {kind} '{point.name}': module '{point.module}' cannot be found; reinstall its package."
            )
        origin = point.dist.name if point.dist else point.module.partition(".")[0]
        entries.append(Component(point.name, point.module, Path(spec.origin), origin, kind))
    return entries


@functools.cache
def entries(kind: Kind) -> dict[str, Component]:
    """Returns every method, task or figure by name, without importing any of them.

    Raises:
        InputError: A plug-in takes a name that is taken, or cannot be found.
    """
    package = f"avbench.{_PACKAGES[kind]}"
    folder = Path(__file__).parent.parent.joinpath(*_PACKAGES[kind].split("."))
    found: dict[str, Component] = {}
    for path in sorted(folder.glob("*.py")):
        if _HAS_CARD.search(path.read_text(encoding="utf-8")):  # to parse all files takes a fifth of a second
            found[path.stem] = Component(path.stem, f"{package}.{path.stem}", path, OWN, kind)
    for entry in _plug_ins(kind):
        if entry.name in found:
            raise InputError(
                f"plug-in {kind} '{entry.name}' of {entry.origin}: the name is taken by {found[entry.name].origin}."
            )
        found[entry.name] = entry
    return found


def find(kind: Kind, name: str) -> Component:
    """Returns one entry by name; an encoder may stand for a method (:mod:`avbench.registry.encoders`).

    Raises:
        InputError: No such name; the nearest and all valid ones are listed.
    """
    known = entries(kind)
    if name not in known and is_encoder(kind, name):
        from avbench.registry import encoders

        return encoders.find(name)
    if name not in known:
        raise unknown(kind, name, known)
    return known[name]


def installed(kind: Kind, name: str) -> Component:
    """Returns one entry by a name that data say, such as a checkpoint: no file or module is imported for it.

    Raises:
        InputError: No such name is installed.
    """
    known = entries(kind)
    if name not in known:
        raise unknown(kind, name, known)
    return known[name]


def title(task: str) -> str:
    """Returns what a text calls a task, by its name in data: ``linear probe``, or ``kNN``, which is a proper name."""
    known = entries("task").get(task)
    return (known.card.get("title") if known is not None else None) or task.replace("_", " ")


def is_encoder(kind: Kind, name: str) -> bool:
    """Returns whether a name stands for anybody's encoder."""
    if kind != "method" or name in entries("method"):
        return False
    from avbench.registry import encoders

    return encoders.is_encoder(name)


def encoder(name: str) -> Component:
    """Returns anybody's encoder.

    Raises:
        InputError: There is none of that name.
    """
    from avbench.registry import encoders

    return encoders.find(name)


def why_not(method: Component, task: Component) -> str:
    """Returns the sentence that a method cannot do a task, with the reason; "" where it can.

    It can where it takes the modalities and has the abilities that the task's card asks for.
    """
    if of_records(task):
        return f"method '{method.name}' cannot do task '{task.name}': it judges recorded scores (evaluate --run ID)."
    takes, compared = method.card["modalities"], task.card.get("modalities", ())
    has = (*method.card["abilities"], *(("pretraining",) if method.card.get("objectives") else ()))
    lacks = [each for each in task.card.get("abilities", ()) if each not in has]
    if set(compared) - set(takes):
        reason = f"it takes {' and '.join(takes)} only, and the task compares {' and '.join(compared)}"
    elif method.encoder and (reason := _not_of_encoders(has, task.card["needs"])):
        pass
    elif lacks:
        reason = f"it does not offer {' and '.join(lacks)}"
    else:
        return ""
    return f"{method.section} '{method.name}' cannot do task '{task.name}': {reason}."


def _not_of_encoders(has: Sequence[str], needs: Sequence[str]) -> str:
    """Returns why a task cannot judge an encoder with some abilities; "" where it can."""
    if "finetuned" in needs and "fine_tuning" not in has:
        return "it says no trainable = True"
    return "the task asks for a method's weights" if {"weights", "training log"} & set(needs) else ""


def of_records(task: Component) -> bool:
    """Returns whether a task judges recorded scores, and asks nothing of a method."""
    return set(task.card["needs"]) <= {"scores", "annotations"}


def tasks_of(method: Component) -> tuple[str, ...]:
    """Returns the tasks that a method can do."""
    return tuple(name for name, task in entries("task").items() if not why_not(method, task))


def methods_for(task: Component) -> tuple[str, ...]:
    """Returns the methods that can do a task."""
    return tuple(name for name, method in entries("method").items() if not why_not(method, task))

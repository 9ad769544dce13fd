"""The one reader of YAML: settings, presets, sweeps, cluster profiles, tables and the catalogue.

Plain values only: numbers, true and false, null, text, lists, and mappings whose keys are text as it is written. What
PyYAML lets pass without a word is refused with its line: a key written twice, a tag, a second document, structures
nested or repeated beyond all use. A date is text, as nothing here takes one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.settings import LARGEST as _LARGEST

if TYPE_CHECKING:
    from yaml.events import Event
    from yaml.events import ScalarEvent as Scalar

_DEEPEST = 50  # levels; the deepest file of ours has eight
_MOST = 1_000_000  # values, those that aliases repeat included
_DIGITS = 100  # a whole number of fewer is one for Python
_MERGE = "<<"


class NotYaml(InputError):
    """Text that is not YAML at all."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that holds one mapping.

    Raises:
        InputError: The file is missing, is not YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error}), valid: YAML in UTF-8.") from None
    except (OSError, ValueError) as error:  # the latter of a name with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason}).") from None
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path}: found {_kind(value)}, valid: a mapping of sections to settings.")
    return value


def parse_yaml(text: str, where: str) -> Any:
    """Returns the value of a YAML text; nothing but blanks and comments is None.

    Args:
        text: The text.
        where: What errors call it: a file, or an option of the command line.

    Raises:
        NotYaml: It is not YAML.
        InputError: It is not of the part that is read here; the line is named.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is there, takes a tenth of the time
    try:
        return _Reader(where).read(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as error:
        raise NotYaml(f"{where}: not YAML ({' '.join(str(error).split())}).") from None
    except UnicodeError as error:
        raise NotYaml(f"{where}: not YAML ({error}).") from None


@dataclass
class _Open:
    """A list or mapping that is being read."""

    value: Any  # a list or a dict
    anchor: str | None
    count: int = 1  # values in it so far
    key: str | None = None  # of a mapping: that whose value comes next
    lines: dict[str, int] = field(default_factory=dict)  # of a mapping: where its keys are
    merged: list[dict[str, Any]] = field(default_factory=list)  # mappings that ``<<`` names


class _Reader:
    """Makes values of the parser's events, in a loop: no depth of nesting can end the process."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._result: Any = None
        self._documents = 0

    def read(self, events: Any) -> Any:
        import yaml

        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise self._bad(event, "a second document", "one")
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchors:
                    raise self._bad(event, f"*{event.anchor}", f"a name that &{event.anchor} gave before")
                self._add(event, *self._anchors[event.anchor])
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._start(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end(event)
        return self._result

    def _scalar(self, event: Scalar) -> None:
        """Takes one key or value."""
        self._check_tag(event)
        inside = self._open[-1] if self._open else None
        if inside is not None and isinstance(inside.value, dict) and inside.key is None:
            if event.value in inside.lines and event.value != _MERGE:
                raise InputError(
                    f"{self._where}: line {_line(event)}: found '{event.value}' a second time (first in line"
                    f" {inside.lines[event.value]}), valid: each key once."
                )
            inside.lines[event.value] = _line(event)
            inside.key = event.value
            if event.anchor is not None:
                self._anchors[event.anchor] = event.value, 1
            return
        value = self._plain(event) if event.implicit[0] else event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = value, 1
        self._add(event, value, 1)

    def _plain(self, event: Scalar) -> Any:
        """Returns what text without quotes stands for."""
        import yaml

        loader = _scalars()
        kind = loader.resolve(yaml.ScalarNode, event.value, (True, False)).rpartition(":")[2]
        if kind not in ("null", "bool", "int", "float"):
            return event.value
        try:
            value = getattr(loader, f"construct_yaml_{kind}")(yaml.ScalarNode("", event.value))
        except (ValueError, OverflowError):
            value = None if len(event.value) < _DIGITS else _LARGEST  # too long for Python, or no number after all
            if value is None:
                return event.value
        if kind == "int" and abs(value) >= _LARGEST:
            raise self._bad(event, _short(event.value), f"whole numbers below {_LARGEST}, and quotes around text")
        return value

    def _start(self, event: Any, value: Any) -> None:
        self._check_tag(event)
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise self._bad(event, "a list or mapping as a key", "text")
        if len(self._open) == _DEEPEST:
            raise self._bad(event, f"lists or mappings nested more than {_DEEPEST} deep", "fewer")
        self._open.append(_Open(value, event.anchor))

    def _end(self, event: Event) -> None:
        done = self._open.pop()
        for merged in done.merged:  # what the mapping says itself comes first
            for key, value in merged.items():
                done.value.setdefault(key, value)
        if done.anchor is not None:
            self._anchors[done.anchor] = done.value, done.count
        self._add(event, done.value, done.count)

    def _add(self, event: Event, value: Any, count: int) -> None:
        """Puts a value where it belongs."""
        if not self._open:
            self._result = value
            return
        inside = self._open[-1]
        inside.count += count
        if inside.count > _MOST:
            raise self._bad(event, f"more than {_MOST} values, with those that aliases repeat", "fewer")
        if isinstance(inside.value, list):
            inside.value.append(value)
        elif inside.key is None:
            raise self._bad(event, "an alias as a key", "text")
        else:
            if inside.key == _MERGE:
                found = value if isinstance(value, list) else [value]
                if not all(isinstance(each, dict) for each in found):
                    raise self._bad(event, f"'<<' with {_kind(value)}", "a mapping, or a list of them")
                inside.merged += found
            else:
                inside.value[inside.key] = value
            inside.key = None

    def _check_tag(self, event: Any) -> None:
        if event.tag not in (None, "!"):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._bad(event, f"the tag {_short(tag)}", "plain values, and quotes around text")

    def _bad(self, event: Event, found: str, valid: str) -> InputError:
        return InputError(f"{self._where}: line {_line(event)}: found {found}, valid: {valid}.")


@functools.cache
def _scalars() -> Any:
    """Returns PyYAML's own reading of plain scalars."""
    import yaml

    return yaml.SafeLoader("")


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."

"""Strict, typed, frozen settings: the machinery under every config dataclass.

A settings class is a frozen dataclass deriving from :class:`Settings`, with every field declared by
:func:`setting`. Values are checked for type and range whenever an object is made, so a wrong value cannot exist;
unknown keys, wrong types and values out of range raise :class:`~avbench.errors.InputError` naming the key.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from avbench.errors import InputError, did_you_mean

S = TypeVar("S", bound="Settings")
_HINTS: dict[type, dict[str, Any]] = {}
LARGEST = 2**63  # what whole numbers must be below
_SHOWN = 60  # characters of a value that an error shows
_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("at least", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("at most", operator.le),
    "lt": ("below", operator.lt),
}


def setting(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    identity: bool = True,
) -> Any:
    """Declares one field of a settings class.

    Args:
        default: Its value when nobody says otherwise.
        help: One line for the user, with unit and source (paper section or table) where there is one.
        ge: Smallest valid number; ``gt``, ``le`` and ``lt`` likewise.
        gt: The number it must be above.
        le: Largest valid number.
        lt: The number it must be below.
        identity: False for what cannot change a result (worker counts, paths, logging): left out of run ids.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    metadata = {"help": help, "identity": identity, **{k: v for k, v in bounds.items() if v is not None}}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all config dataclasses: checks each field's type and range on construction."""

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            InputError: A field has the wrong type or is out of range.
        """
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            value = _checked(getattr(self, field.name), hints[field.name], field.name)
            _check_range(value, field.metadata, field.name)
            object.__setattr__(self, field.name, value)


def _hints(cls: type[Settings]) -> dict[str, Any]:
    """Returns the types of a class's fields; read once, as thousands of objects are made."""
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def shown(value: Any) -> str:
    """Returns a value as an error shows it: in YAML's words, cut where it is long, with its kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = {str: "", int: "a whole number", float: "a number", list: "a list", tuple: "a list", dict: "a mapping"}
    kind = kinds.get(type(value), type(value).__name__)
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of too many digits for Python to print
        return kind
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return f"{text} ({kind})" if kind else text


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in get_args(hint))
    if origin is tuple:
        count = "" if get_args(hint)[-1] is Ellipsis else f"{len(get_args(hint))} values, each "
        return f"a list of {count}{_describe(get_args(hint)[0])}"
    if isinstance(hint, type) and issubclass(hint, Settings):
        return f"settings of its own: {', '.join(field.name for field in dataclasses.fields(hint))}"
    if hint is type(None):
        return "null"
    if origin is Mapping:
        return "a mapping"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(hint, str(hint))


def valid(cls: type[Settings], field: dataclasses.Field[Any]) -> str:
    """Returns the type and range of a field in words."""
    bounds = [f"{words} {field.metadata[key]:g}" for key, (words, _) in _BOUNDS.items() if key in field.metadata]
    text = ", ".join([_describe(_hints(cls)[field.name]), *bounds])
    return text.replace("a list of a whole number", "whole numbers").replace("a list of a number", "numbers")


def _checked(value: Any, hint: Any, key: str) -> Any:
    """Returns ``value`` as the type ``hint`` (whole numbers pass as floats), or raises InputError."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for part in get_args(hint):
            try:
                return _checked(value, part, key)
            except InputError:
                continue
    elif origin is Literal:
        if (
            isinstance(value, str | int | float)
            and value in get_args(hint)
            and not (isinstance(value, bool) and True not in get_args(hint))
        ):
            return value
        suggestion = did_you_mean(str(value), map(str, get_args(hint)))
        raise InputError(f"{key}: found {shown(value)}, valid: {_describe(hint)}.{suggestion}")
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            item = get_args(hint)[0]
            if get_args(hint)[-1] is not Ellipsis and len(value) != len(get_args(hint)):
                raise InputError(
                    f"{key}: found {len(value)} {'value' if len(value) == 1 else 'values'}, valid:"
                    f" {len(get_args(hint))}, each {_describe(item)}."
                )
            nested = isinstance(item, type) and issubclass(item, Settings)
            return tuple(_checked(part, item, f"{key}[{i}]" if nested else key) for i, part in enumerate(value))
    elif origin is Mapping:
        if isinstance(value, Mapping):
            return dict(value)
    elif hint is type(None):
        if value is None:
            return None
    elif isinstance(hint, type) and issubclass(hint, Settings):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return build(hint, value, key)
    elif hint is float:
        number = finite(value)
        if number is not None:
            return number
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST:
            return value
    elif isinstance(value, hint):
        if isinstance(value, str) and "\0" in value:
            raise InputError(f"{key}: found a NUL in {shown(value)}, valid: text.")
        return value
    raise InputError(f"{key}: found {shown(value)}, valid: {_describe(hint)}.")


def finite(value: Any) -> float | None:
    """Returns a number as a float, also from text such as ``1e-4``, which YAML reads as text; None: no finite one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _check_range(value: Any, metadata: Mapping[str, Any], key: str, kind: str = "") -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, (int, float)):
            continue
        for name, (words, holds) in _BOUNDS.items():
            if name in metadata and not holds(number, metadata[name]):
                raise InputError(f"{key}: found {number}, valid: {kind}{words} {metadata[name]}.")


def check_number(value: Any, key: str, hint: type[int] | type[float], **bounds: float) -> Any:
    """Returns a number that is no field of a settings class, checked as those are.

    Args:
        value: What was found.
        key: What errors call it.
        hint: ``int`` or ``float``.
        bounds: ``ge``, ``gt``, ``le`` or ``lt``, as for :func:`setting`.

    Raises:
        InputError: It is no such number, or out of range.
    """
    number = _checked(value, hint, key)
    _check_range(number, bounds, key, f"{_describe(hint)}, ")
    return number


def build(cls: type[S], values: Mapping[str, Any], where: str = "") -> S:
    """Makes a settings object from a mapping, refusing keys it does not know.

    Args:
        cls: The settings class.
        values: Field name to value; missing fields take their defaults.
        where: What to call the mapping in an error, such as ``train`` or a file name.

    Raises:
        InputError: An unknown key, a wrong type or a value out of range.
    """
    return change(cls(), values, where)


def change(settings: S, values: Mapping[str, Any], where: str = "") -> S:
    """Returns ``settings`` with the given fields replaced; nested mappings change nested settings.

    Args:
        settings: A config dataclass.
        values: New values by field; mappings for nested ones.
        where: Names where they came from in errors.

    Raises:
        InputError: An unknown key, a wrong type or a value out of range; the key is named with its path.
    """
    names = [field.name for field in dataclasses.fields(settings)]
    replaced: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in names:
            raise InputError(f"unknown key '{path}'.{did_you_mean(str(key), names)} Valid: {', '.join(sorted(names))}.")
        current = getattr(settings, key)
        if isinstance(current, Settings) and isinstance(value, Mapping):
            value = change(current, value, path)
        replaced[key] = value
    try:
        return dataclasses.replace(settings, **replaced)
    except InputError as error:
        raise InputError(f"{where}.{error}" if where and not str(error).startswith(where) else str(error)) from None


def to_dict(settings: Settings, *, identity_only: bool = False) -> dict[str, Any]:
    """Returns a settings object as plain JSON values, in field order.

    Args:
        settings: The object.
        identity_only: Leave out the fields declared with ``identity=False``.
    """
    result: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        if identity_only and not field.metadata.get("identity", True):
            continue
        value = getattr(settings, field.name)
        if isinstance(value, Settings):
            value = to_dict(value, identity_only=identity_only)
        result[field.name] = list(value) if isinstance(value, tuple) else value
    return result

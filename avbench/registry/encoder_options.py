"""The arguments of an encoder's constructor as settings: checked and named like any others."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin

from avbench.errors import InputError
from avbench.settings import Settings, build, setting, to_dict

_SIMPLE = (bool, int, float, str, type(None))


@functools.cache
def options_of(cls: type, name: str) -> type[Settings]:
    """Returns the settings class of an encoder's constructor.

    Arguments whose type is no number, text, truth value, choice or list of such cannot be set, and keep their default.

    Args:
        cls: The encoder's class.
        name: What finds it.

    Raises:
        InputError: An argument has no default.
    """
    fields: list[tuple[str, Any, Any]] = []
    for each in _arguments(cls):
        if each.default is inspect.Parameter.empty:
            raise InputError(
                f"--encoder {name}: argument '{each.name}' of {cls.__name__} has no default; give it one, which"
                f" --set encoder.{each.name}=VALUE then changes."
            )
        default = tuple(each.default) if isinstance(each.default, list) else each.default
        hint = _hints(cls).get(each.name, _kind_of(default))
        if _settable(hint):
            fields.append((each.name, hint, setting(default, f"argument of {cls.__name__}")))
    made = dataclasses.make_dataclass(
        f"{cls.__name__}Options",
        fields,
        bases=(Settings,),
        namespace={"__reduce__": lambda self: (_again, (name, to_dict(self)))},  # such classes cannot be imported
        frozen=True,
        kw_only=True,
    )
    return typing.cast("type[Settings]", made)


def _again(name: str, values: dict[str, Any]) -> Settings:
    """Returns the settings that another process sent."""
    from avbench.registry import find

    options: type[Settings] = find("method", name).config_class
    return build(options, values)


def _arguments(cls: type) -> list[inspect.Parameter]:
    """Returns the named arguments of a constructor; of one that only hands on what it gets, none."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return []
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return [each for each in found if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # names that are there for a type checker alone
        return {}


def _kind_of(default: Any) -> Any:
    """Returns the type of an argument that states none."""
    if isinstance(default, tuple):
        kinds = {type(value) for value in default}
        return tuple[kinds.pop(), ...] if len(kinds) == 1 else object  # type: ignore[misc]
    return str | None if default is None else type(default)


def _settable(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType, tuple):
        return all(part is Ellipsis or _settable(part) for part in get_args(hint))
    return origin is Literal or hint in _SIMPLE

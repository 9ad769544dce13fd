"""A command's options, from words to its frozen dataclass."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from avbench.commands.terminal import plain
from avbench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

UNSET = "unset"  # what help calls a default that is None or empty
# One option under both names: what several are given to may be called by one, and the reverse.
OTHER_NAMES = {"--methods": "--method", "--method": "--methods", "--tasks": "--task", "--task": "--tasks"}


def parse(command_class: type, program: str, arguments: Sequence[str], default: Any = None) -> Any:
    """Parses a command's options with tyro.

    Args:
        command_class: The command's frozen dataclass.
        program: What the user typed so far, such as ``avbench data make``.
        arguments: The rest.
        default: A command whose values stand where the arguments name none; None: the class's own.

    Raises:
        InputError: tyro refused the options; its answer is folded into one line.
    """
    import tyro

    errors = io.StringIO()
    names = {field.name for field in dataclasses.fields(command_class)}
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(plain(sys.stdout)):  # help has colours
            return tyro.cli(
                command_class,
                prog=program,
                args=[_own_name(word, names) for word in arguments],
                default=default,
                config=(tyro.conf.FlagCreatePairsOff,),
                registry=_registry(),
            )
    except SystemExit as leave:
        if leave.code in (0, None):
            sys.stdout.flush()  # whether somebody reads it
            raise
        raise InputError(_one_line(errors.getvalue(), program, names)) from None


def _own_name(word: str, names: set[str]) -> str:
    """Returns an option under the name that the command has for it: ``--methods`` as ``--method`` or the reverse."""
    option, equals, value = word.partition("=")
    other = OTHER_NAMES.get(option, "")
    return f"{other}{equals}{value}" if other and option[2:] not in names and other[2:] in names else word


def _registry() -> ConstructorRegistry:
    """Returns how options are read and shown: as tyro does, but defaults that are None or empty are called unset."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec

    registry = ConstructorRegistry()

    def inner(info: PrimitiveTypeInfo, hint: Any) -> PrimitiveConstructorSpec[Any] | None:
        spec = registry.get_primitive_spec(type(info).make(hint, info.markers))
        return spec if isinstance(spec, PrimitiveConstructorSpec) else None

    def text(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[str] | None:
        if info.type is not str:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="STR",
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: isinstance(value, str),
            str_from_instance=lambda value: [value or UNSET],
        )

    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        parts = [part for part in get_args(info.type) if part is not types.NoneType]
        if get_origin(info.type) not in (Union, types.UnionType) or len(parts) != 1:
            return None
        spec = inner(info, parts[0])
        return spec and dataclasses.replace(
            spec,
            is_instance=lambda value: value is None or spec.is_instance(value),
            str_from_instance=lambda value: [UNSET] if value is None else spec.str_from_instance(value),
        )

    def several(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        parts = get_args(info.type)
        if get_origin(info.type) is not tuple or parts[1:] != (...,) or get_origin(parts[0]) is tuple:
            return None
        spec = inner(info, parts[0])
        return spec and PrimitiveConstructorSpec(
            nargs="*",
            metavar=f"{spec.metavar} ...",
            instance_from_str=lambda words: tuple(spec.instance_from_str([word]) for word in words),
            is_instance=lambda values: isinstance(values, tuple) and all(map(spec.is_instance, values)),
            str_from_instance=lambda values: [w for value in values for w in spec.str_from_instance(value)] or [UNSET],
            choices=spec.choices,
        )

    for rule in (text, optional, several):
        registry.primitive_rule(rule)
    return registry


def padded(name: str) -> str:
    """Returns the id of a table or figure whose number has one digit too few: ``table_1`` is ``table_01``."""
    return re.sub(r"^(table|figure)_(\d)(?!\d)", r"\1_0\2", name)


def _one_line(box: str, program: str, names: set[str]) -> str:
    """Folds tyro's framed, coloured answer into one line: what was found and the fix, without the option's help.

    Args:
        box: The answer.
        program: What the user typed so far.
        names: The fields of the command, which are its options.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    # The frame is drawn with line characters, or with blanks and dashes where the terminal has none; its first line
    # is a title.
    lines = [line.strip("│╭╰╮╯─ ") for line in text.splitlines()[1:]]
    parts = [line for line in lines if line.strip("- ") and not line.startswith(("For full help", f"{program} --help"))]
    message = " ".join(" ".join(parts).split()) or "the options cannot be parsed"
    message = re.split(r" (?:Perhaps you meant|Arguments similar to|Argument helptext)", message)[0].rstrip(".")
    found = re.match(r"Unrecognized options: ([^\s,=]+)", message)  # words after the first may be its values
    if found is not None:
        word = found[1]
        if word.startswith("-"):
            near = did_you_mean(word, [f"--{name.replace('_', '-')}" for name in names])
            return f"unknown option {word}.{near} See: {program} --help"
        return f"unexpected word '{word}'. See: {program} --help"
    number = re.match(r"Error parsing (--\S+): .*(int|float)\b.*: '(.*)'$", message)
    if number is not None:
        kind = "whole numbers" if number[2] == "int" else "numbers"
        return f"{number[1]}: found '{number[3]}', valid: {kind}. See: {program} --help"
    return f"{message}. See: {program} --help"

"""What a sweep varies: lists of values, ranges of numbers, and named bundles of options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError, did_you_mean
from avbench.recipes.presets import SECTIONS
from avbench.registry import ENCODER
from avbench.settings import finite, shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Scalar = str | int | float | bool | None
#: What a sweep may vary beside settings; the last three in choices alone, see docs/sweeps.md.
_SECTIONS = (*SECTIONS, ENCODER)
OPTIONS = ("method", "data", "preset", "init", "recipe", "run", "weights")


@dataclass(frozen=True)
class Parameter:
    """One thing that trials differ in.

    Attributes:
        key: A setting such as ``method.lambda_c``, ``method``, ``data``, ``init``, or the name of the bundles.
        values: What it may be; empty: any number from ``low`` to ``high``. Of bundles, their names.
        bundles: By name, the options that a value stands for.
        low: Least value of a range.
        high: Largest value of a range.
        whole: The range is of whole numbers.
        step: Distance of the values of a range; None: 1 where they are whole, else any value.
        log: The range is drawn, and the axis of plots is, logarithmic.
    """

    key: str
    values: tuple[Scalar, ...] = ()
    bundles: Mapping[str, Mapping[str, Any]] | None = None
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    step: float | None = None
    log: bool = False

    def options(self, value: Scalar) -> Mapping[str, Any]:
        """Returns the options that a value stands for: setting, or name of an option, to value."""
        return self.bundles[str(value)] if self.bundles is not None else {self.key: value}

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        if not self.values:
            return True
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)

    def distribution(self) -> BaseDistribution:
        """Returns what Optuna draws from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values:
            return CategoricalDistribution(self.values)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def grid(self) -> tuple[Scalar, ...]:
        """Returns every value.

        Raises:
            InputError: There is no end of them.
        """
        if self.values:
            return self.values
        if self.log or (self.step is None and not self.whole):
            raise InputError("found a range, valid: a list of values, as the sampler is grid.")
        step = self.step or 1
        numbers = [round(self.low + i * step, 12) for i in range(int((self.high - self.low) / step + 1e-9) + 1)]
        return tuple(int(number) if self.whole else number for number in numbers)

    def corners(self) -> tuple[Scalar, ...]:
        """Returns every value of a list, and both ends of a range."""
        if self.values:
            return self.values
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


def read_parameter(key: str, value: Any, where: str) -> Parameter:
    """Reads one entry of ``space``.

    Args:
        key: Its name.
        value: A list of values, or a mapping with ``values``, ``float``, ``int`` or ``choices``.
        where: What errors call it.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, list):
        value = {"values": value}
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: found {shown(value)}, valid: a list of values, or values, float, int or choices.")
    kinds = {"values": ("log",), "float": ("log", "step"), "int": ("log", "step"), "choices": ()}
    given = [kind for kind in kinds if kind in value]
    if len(given) != 1:
        near = "".join(did_you_mean(str(word), kinds) for word in value)
        raise InputError(
            f"{where}: found {', '.join(map(str, value)) or 'nothing'}, valid: one of {_names(kinds)}.{near}"
        )
    kind = given[0]
    valid = (kind, *kinds[kind])
    for word in value:
        if word not in valid:
            raise InputError(f"{where}: unknown key '{word}'.{did_you_mean(str(word), valid)} Valid: {_names(valid)}.")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}.log: found {shown(log)}, valid: true or false.")
    if kind == "choices":
        bundles = _bundles(value[kind], where)
        return Parameter(key, values=tuple(bundles), bundles=bundles)
    check_key(key, where)
    if kind == "values":
        return Parameter(key, values=_values(value[kind], where, log=log), log=log)
    return _range(key, value, kind, where, log=log)


def check_key(key: str, where: str) -> None:
    """Refuses what is neither a setting ``section.key`` nor an option that may vary.

    Raises:
        InputError: It is neither.
    """
    section, dot, _ = key.partition(".")
    if not dot and key in OPTIONS:
        return
    if not dot or section not in _SECTIONS:
        near = did_you_mean(section, _SECTIONS if dot else OPTIONS)
        raise InputError(
            f"{where}: unknown key '{key}'.{near} Valid: {_names(OPTIONS)}, or a setting of {_names(_SECTIONS)}, such"
            " as method.lambda_c; names of one's own have choices."
        )


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuses a key of ``set`` that is no setting.

    Raises:
        InputError: There is one.
    """
    for key in settings:
        check_key(str(key), where)
        if key in OPTIONS:
            raise InputError(
                f"{where}: found '{key}', valid: settings, as train.steps; '{key}' is a key next to 'set'."
            )


def text(value: Any) -> str:
    """Returns a value as ``--set`` takes it."""
    return value if isinstance(value, str) and value else json.dumps(value)


def _names(names: Any) -> str:
    return ", ".join(names)


def _values(values: Any, where: str, *, log: bool) -> tuple[Scalar, ...]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: found {shown(values)}, valid: a list of values.")
    for value in values:
        if not (value is None or isinstance(value, (str, int, float, bool))):
            raise InputError(
                f"{where}: found {shown(value)}, valid: numbers, text, true or false; lists and mappings: choices."
            )
    if len({(type(value) is bool, value) for value in values}) < len(values):
        raise InputError(f"{where}: found a value twice in {values}, valid: each once.")
    if log and not all(isinstance(value, (int, float)) and value > 0 for value in values):
        raise InputError(f"{where}: found log with {values}, valid: numbers above 0.")
    return tuple(values)


def _bundles(values: Any, where: str) -> dict[str, Mapping[str, Any]]:
    if not isinstance(values, Mapping) or not values:
        raise InputError(f"{where}.choices: found {shown(values)}, valid: a mapping of names to options.")
    for name, options in values.items():
        if not isinstance(options, Mapping):
            raise InputError(
                f"{where}.choices.{name}: found {shown(options)}, valid: a mapping of options, such as {{init: none}}."
            )
        for key in options:
            check_key(str(key), f"{where}.choices.{name}")
    return {str(name): dict(options) for name, options in values.items()}


def _range(key: str, value: Mapping[str, Any], kind: str, where: str, *, log: bool) -> Parameter:
    bounds, whole = value[kind], kind == "int"
    fits = isinstance(bounds, list) and len(bounds) == 2
    numbers = [_number(bound, whole=whole) for bound in bounds] if fits else []
    if len(numbers) != 2 or None in numbers:
        raise InputError(
            f"{where}.{kind}: found {shown(bounds)}, valid: two {'whole ' if whole else ''}numbers, [low, high]."
        )
    low, high = (float(number or 0) for number in numbers)
    if low >= high or (log and low <= 0):
        raise InputError(
            f"{where}.{kind}: found {bounds}, valid: low below high{', and above 0 with log' if log else ''}."
        )
    step = value.get("step")
    if step is not None and (log or (_number(step, whole=whole) or 0) <= 0):
        raise InputError(f"{where}.step: found {shown(step)}, valid: a number above 0, without log.")
    return Parameter(key, low=low, high=high, whole=whole, step=_number(step, whole=whole), log=log)


def _number(value: Any, *, whole: bool) -> float | None:
    return None if whole and not isinstance(value, int) else finite(value)

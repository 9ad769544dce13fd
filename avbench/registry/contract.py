"""What a method must define, checked when it is loaded: what it defines is what is used, or it is refused.

Methods derive from each other, and several functions compute the same in their own way. Where one of them is overridden
and its companions are not, the companions would still use the old.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from avbench.errors import InputError

_BASE = "avbench.methods.base"  # of methods; not imported, as methods stand above what finds them
# What a method defines that has an ability.
_NEEDED = {"vectors": "vectors", "patch_tokens": "local_tokens", "reconstruction": "predict"}
_CALLED_WITH = {"forward": 3, "draw_noise": 2, "embed": 2, "vectors": 2, "local_tokens": 2}  # arguments beside self


def check(name: str, found: Any, card: Mapping[str, Any]) -> None:
    """Checks a method's class against what it says of itself and what is asked of it; one without a name is named.

    Args:
        name: The method.
        found: What its module assigns to METHOD.
        card: The arguments of its CARD.

    Raises:
        InputError: Something is missing, or contradicts something else.
    """
    if not _is_method(found):
        raise InputError(f"method '{name}': METHOD: found {found!r}, valid: a subclass of {_BASE}.Method.")
    if not found.__module__.startswith("avbench."):
        if "name" not in vars(found):
            found.name = name  # not that of the method it derives from, whose weights its own are not
        elif found.name != name:
            raise InputError(
                f"method '{name}': {found.__name__}.name: found '{found.name}', valid: '{name}', as listed."
            )
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if card.get("objectives") and not _defines(found, "forward"):
        missing.append("forward")  # its loss
    if missing:
        raise InputError(f"method '{name}': {found.__name__} does not define {', '.join(missing)}, which it must.")
    if set(card["modalities"]) != set(found.modalities):
        raise InputError(
            f"method '{name}': CARD has modalities {', '.join(card['modalities'])}, {found.__name__} has"
            f" {', '.join(found.modalities)}; valid: the same."
        )
    for ability in card["abilities"]:
        if ability in _NEEDED and not _defines(found, _NEEDED[ability]):
            raise InputError(
                f"method '{name}': CARD lists ability {ability}, for which {found.__name__} does not define"
                f" {_NEEDED[ability]}; define it, or leave the ability out."
            )
    for each, count in _CALLED_WITH.items():
        try:
            inspect.signature(getattr(found, each)).bind(*[None] * (count + 1))
        except TypeError as error:
            raise InputError(
                f"method '{name}': {found.__name__}.{each}: {error}; valid: as avbench.methods.base.Method has it."
            ) from None


def embeds_apart(method: Any) -> bool:
    """Returns whether retrieval embeddings are not the method's vectors at unit length, as far as is known.

    So it is where ``embed`` and ``vectors`` do not come from the same class: whoever overrides one alone means it.
    """
    if not _is_method(type(method)) or len(method.modalities) < 2:
        return False  # a stand-in is taken at its word; of one modality there is nothing to retrieve
    own = vars(method)
    if "embed" in own or "vectors" in own:
        return True
    return _owner(type(method), "embed") is not _owner(type(method), "vectors")


def _is_method(cls: Any) -> bool:
    return isinstance(cls, type) and any((each.__module__, each.__name__) == (_BASE, "Method") for each in cls.__mro__)


def _owner(cls: type, name: str) -> type:
    """Returns the class that defines an attribute as ``cls`` has it."""
    return next(each for each in cls.__mro__ if name in vars(each))


def _defines(cls: type, name: str) -> bool:
    return getattr(cls, name, None) is not None and _owner(cls, name).__module__ != _BASE

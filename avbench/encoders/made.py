"""An encoder as its class makes it, without weights: what it hears and sees, and what else decides its numbers."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import Any

from avbench import registry
from avbench.data.wants import Wants
from avbench.errors import RAISED, AvbenchError, InputError
from avbench.registry.encoders import told
from avbench.settings import Settings, shown

_RANGES: dict[str, tuple[int, int]] = {"sample_rate": (1000, 192_000), "channels": (1, 2), "frames": (1, 512)}


@functools.lru_cache(maxsize=64)
def wants_of(name: str, options: Settings) -> Wants:
    """Returns what an encoder hears and sees.

    Raises:
        InputError: It cannot be made, or says something that cannot be.
    """
    encoder, entry = build(name, options), registry.find("method", name)
    for attribute, (least, most) in {**_RANGES, "batch_size": (1, 2**20)}.items():
        value = getattr(encoder, attribute)
        if not isinstance(value, int) or not least <= value <= most:
            valid = f"valid: a whole number from {least} to {most}"
            raise InputError(f"encoder {entry.shown}: {attribute}: found {shown(value)}, {valid}.")
    image = encoder.image
    if isinstance(image, int):
        image = (image, image)
    sides = () if image is None else image
    if image is not None and (len(sides) != 2 or not all(type(side) is int and 0 < side <= 4096 for side in sides)):
        raise InputError(
            f"encoder {entry.shown}: image: found {shown(image)}, valid: (height, width) in pixels, or None."
        )
    seconds = encoder.seconds
    if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
        raise InputError(f"encoder {entry.shown}: seconds: found {shown(seconds)}, valid: above 0, or None.")
    return Wants(
        modalities=tuple(entry.card["modalities"]),
        sample_rate=encoder.sample_rate,
        channels=encoder.channels,
        seconds=None if seconds is None else float(seconds),
        frames=encoder.frames,
        image=None if image is None else (image[0], image[1]),
    )


@functools.lru_cache(maxsize=64)
def revision_of(name: str, options: Settings) -> str:
    """Returns what else decides an encoder's numbers, as it says.

    Raises:
        InputError: It cannot tell.
    """
    encoder, entry = build(name, options), registry.find("method", name)
    try:
        return str(encoder.revision())
    except AvbenchError:
        raise
    except RAISED as error:
        raise InputError(f"encoder {entry.shown} ({name}): revision failed: {told(error, entry.path)}.") from error


@functools.lru_cache(maxsize=64)
def is_drawn(name: str, options: Settings) -> bool:
    """Returns whether an encoder's first weights are drawn by the seed, as its class or what it was made of says."""
    return bool(build(name, options).random)


def build(name: str, options: Settings) -> Any:
    """Returns a new object of an encoder's class.

    Raises:
        InputError: Its constructor failed.
    """
    entry = registry.find("method", name)
    arguments = {field.name: getattr(options, field.name) for field in fields(options)}
    try:
        return entry.load().METHOD(**arguments)
    except RAISED as error:
        raise InputError(
            f"encoder {entry.shown} ({name}): its constructor failed: {told(error, entry.path)}."
        ) from error

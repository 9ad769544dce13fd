"""A run of anybody's encoder: its configuration, and what its ids hold of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import DataConfig, ModelConfig, RunConfig, TrainConfig, Weights
from avbench.errors import InputError
from avbench.settings import Settings, change

if TYPE_CHECKING:
    from avbench.data.wants import Wants

GIVEN: Weights = "given"  # the weights of an encoder, whatever they are: avbench trained none
_OF_SPECTROGRAMS = ("freq_mask", "time_mask", "noise")  # settings of fine-tuning
_ASKING = 2  # how encoders are asked; 2: modules they hold in evaluation mode, copies of sounds and pictures
_SET = {"train": ("workers", "threads", "deterministic")}  # of these sections, what an encoder's run has


def frames(method: str, user: Sequence[Mapping[str, Any]]) -> DataConfig:
    """Returns the section data as an encoder sees: how many pictures of a clip, which its arguments may decide.

    Args:
        method: The encoder.
        user: What the user sets.

    Raises:
        InputError: A wrong argument, or it says that it hears or sees something that cannot be.
    """
    from avbench.encoders.made import wants_of

    options: Settings = registry.find("method", method).config_class()
    for layer in user:
        options = change(options, layer.get(registry.ENCODER, {}), registry.ENCODER)
    seen = wants_of(method, options).grid
    return change(DataConfig(), {"n_frames": seen.count, "sampling": seen.sampling})


def of_presets(sections: Mapping[str, Settings], user: Sequence[Mapping[str, Any]]) -> dict[str, Settings]:
    """Returns the sections of an encoder after presets, without what these say of spectrograms and of training.

    Args:
        sections: As presets leave them.
        user: What the user sets.

    Raises:
        InputError: The user sets something that changes nothing of what an encoder does.
    """
    unheard = {name: type(value)() for name, value in vars(sections["task"]).items() if name in _OF_SPECTROGRAMS}
    for layer in user:
        _check_sections(layer)
        for name, value in layer.get("task", {}).items():
            if value != unheard.get(name, value):
                raise InputError(
                    f"task.{name}: not used with an encoder, which hears waveforms, valid: {unheard[name]}."
                )
    changed = {"model": ModelConfig(), "train": TrainConfig(), "task": change(sections["task"], unheard, "task")}
    return {**sections, **changed}


def _check_sections(layer: Mapping[str, Any]) -> None:
    """Refuses settings that change nothing of what an encoder does.

    Raises:
        InputError: There is one.
    """
    for section, values in layer.items():
        for key in values:
            if section in (registry.ENCODER, "data", "task") or key in _SET.get(section, ()):
                continue
            fix = "" if section not in ("input", "model") else "; it says itself what it hears and sees"
            raise InputError(
                f"{section}.{key}: not used with an encoder{fix}; valid: {registry.ENCODER}.KEY, data.KEY, task.KEY,"
                f" {', '.join(f'{name}.{each}' for name, keys in _SET.items() for each in keys)}."
            )


def wants(config: RunConfig) -> Wants | None:
    """Returns what the encoder of a run hears and sees; None where a method is judged."""
    if not registry.find("method", config.method_name).encoder:
        return None
    from avbench.encoders.made import wants_of

    return wants_of(config.method_name, config.method)


def drawn(config: RunConfig) -> int | None:
    """Returns the seed of the first weights; None where they are the same for every seed."""
    if wants(config) is None:
        return config.seed
    from avbench.encoders.made import is_drawn

    return config.seed if is_drawn(config.method_name, config.method) else None


def key(config: RunConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what ids hold of an encoder: what it is made of, its arguments, what it hears and sees; else nothing.

    Args:
        config: The run.
        options: Its arguments.
    """
    heard = wants(config)
    if heard is None:
        return {}
    from avbench.encoders.made import revision_of

    entry = registry.find("method", config.method_name)
    return {
        "encoder": entry.shown,
        "asking": _ASKING,
        "options": dict(options),
        "wants": dataclasses.asdict(heard),
        "precision": config.precision,
        "source": entry.sources,
        **({"revision": revision} if (revision := revision_of(config.method_name, config.method)) else {}),
    }

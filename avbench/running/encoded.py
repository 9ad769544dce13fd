"""A run of anybody's encoder: its configuration, and what its ids hold of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import DataConfig, InputConfig, ModelConfig, RunConfig, TrainConfig, Weights
from avbench.data.locate import EMBEDDED, SOUNDSHAPES
from avbench.errors import InputError
from avbench.recipes import presets
from avbench.running.layers import apply, read_layers, task_class
from avbench.settings import Settings, change

if TYPE_CHECKING:
    from avbench.data.wants import Wants
    from avbench.running.asked import Request

GIVEN: Weights = "given"  # the weights of an encoder, whatever they are: avbench trained none
_OF_SPECTROGRAMS = ("freq_mask", "time_mask", "noise")  # settings of fine-tuning
_SET = {"train": ("workers", "threads", "deterministic")}  # of these sections, what an encoder's run has


def resolve(request: Request, entry: registry.Component) -> RunConfig:
    """Returns the complete configuration of a request; see :func:`avbench.running.request.resolve`.

    Raises:
        InputError: An unknown key, a wrong value, or a setting of what an encoder has not.
    """
    if request.recipe:
        raise InputError(f"--recipe {request.recipe}: not used with an encoder; leave it out.")
    from avbench.encoders.made import wants_of

    user = read_layers(request.config, request.sets, method=request.method, task=request.task)
    source = request.data or next(
        (layer["data"]["source"] for layer in reversed(user) if "source" in layer.get("data", {})), DataConfig().source
    )
    options: Settings = entry.config_class()
    for layer in user:
        options = change(options, layer.get(entry.section, {}), entry.section)
    seen = wants_of(request.method, options).grid  # which its arguments may decide
    sections: dict[str, Settings] = {
        "data": change(DataConfig(), {"n_frames": seen.count, "sampling": seen.sampling}),
        "input": InputConfig(),
        entry.section: options,
        "train": TrainConfig(),
        "task": task_class(request.task)(),
    }
    own = (SOUNDSHAPES,) if source in EMBEDDED and SOUNDSHAPES not in request.presets else ()
    for name in (*own, *request.presets):
        preset = presets.load(name)
        of_task = preset.get(presets.TASKS, {}).get(request.task, {})
        for layer in ({key: preset.get(key, {}) for key in ("data", "input", "task")}, {"task": of_task}):
            sections = apply(sections, layer, f"{name}: ", lenient=("task",))
    unheard = {name: type(value)() for name, value in vars(sections["task"]).items() if name in _OF_SPECTROGRAMS}
    sections["task"] = change(sections["task"], unheard, "task")
    for layer in user:
        _check_sections(layer, sections)
        sections = apply(sections, layer, "")
    for name, none in unheard.items():
        if getattr(sections["task"], name) != none:
            raise InputError(f"task.{name}: not used with an encoder, which hears waveforms, valid: {none}.")
    named = {"source": source} | ({} if request.eval_data is None else {"eval_source": request.eval_data})
    sections["data"] = change(sections["data"], named)
    options = sections.pop(entry.section)
    config = RunConfig(
        method_name=request.method,
        task_name=request.task,
        seed=request.seed,
        precision="fp32" if request.precision == "auto" else request.precision,
        weights=GIVEN,
        checkpoint=request.checkpoint,
        presets=(*own, *request.presets),
        method=options,
        model=ModelConfig(),
        **sections,  # type: ignore[arg-type]  # each section has the type its default was made with
    )
    wants(config)
    return config


def _check_sections(layer: Mapping[str, Any], sections: Mapping[str, Settings]) -> None:
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
        "options": dict(options),
        "wants": dataclasses.asdict(heard),
        "precision": config.precision,
        "source": entry.sources,
        **({"revision": revision} if (revision := revision_of(config.method_name, config.method)) else {}),
    }

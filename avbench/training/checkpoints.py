"""Weights into models, and out into files: our own safetensors and the authors' ``.pth``.

In memory keys have no ``module.`` prefix; files may. Loading is strict: every key that does not fit is reported.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.methods.place import position_grids
from avbench.methods.positions import Grid, resize_table
from avbench.settings import change
from avbench.training.weights_file import (
    Checkpoint,
    State,
    not_finite,
    plain_keys,
    read_checkpoint,
    some,
)

if TYPE_CHECKING:
    from avbench.training.inspect import Description

log = logging.getLogger("avbench")


def load_weights(
    model: nn.Module,
    source: Path | Mapping[str, Tensor],
    *,
    name: str = "weights",
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
    resize_positions: bool = False,
) -> None:
    """Copies weights into a model; nothing is changed unless everything fits.

    Args:
        model: The model.
        source: A weights file, or keys (with or without ``module.``) and tensors.
        name: What to call tensors in an error.
        allow_missing: Keys of the model, or patterns such as ``decoder_*``, that may keep their values.
        allow_unexpected: Keys of the source, or patterns, that may be left out.
        resize_positions: Fit position tables of another length to the model's grids.

    Raises:
        InputError: A key is missing, unexpected or of another shape, or a value is not finite; all of them are named.
    """
    if isinstance(source, Path):
        name, checkpoint = f"checkpoint {source}", read_checkpoint(source)
        _check_method(source, checkpoint, model)
        state = checkpoint.state
    else:
        state = plain_keys(source).state
    own = model.state_dict()
    if resize_positions:
        state = _resized(state, model)
    missing = _unnamed(own.keys() - state.keys(), allow_missing)
    unexpected = _unnamed(state.keys() - own.keys(), allow_unexpected)
    common = [key for key in own if key in state]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in common
        if state[key].shape != own[key].shape
    ]
    kinds = [
        f"{key} {state[key].dtype}"
        for key in common
        if own[key].is_floating_point() and not state[key].is_floating_point()
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "not floating point": kinds}
    if any(faults.values()):
        found = "; ".join(f"{len(keys)} {fault}: {some(keys)}" for fault, keys in faults.items() if keys)
        misfit = f"does not fit {type(model).__name__}: {found}"
        only_positions = bool(shapes) and not (missing or unexpected or kinds) and all("pos_embed" in s for s in shapes)
        # Training may start from another method's weights: where all but the tables fits, resizing them is the fix.
        other = "" if only_positions else _of_another(state, model)
        if other:
            raise InputError(f"{name}: {other} (it {misfit}).")
        raise InputError(f"{name} {misfit}. {_hint(common, only_positions=only_positions)}")
    bad = not_finite(state, common)
    if bad:
        raise InputError(
            f"{name}: found values that are not finite in {len(bad)} tensors: {some(bad)}; valid: numbers."
        )
    with torch.no_grad():
        for key in common:
            own[key].copy_(state[key])


def _unnamed(keys: Iterable[str], patterns: Iterable[str]) -> list[str]:
    allowed = tuple(patterns)
    return sorted(key for key in keys if not any(fnmatchcase(key, pattern) for pattern in allowed))


def _of_another(state: State, model: nn.Module) -> str:
    """Returns the words that weights are another method's than the model, where their keys say so."""
    from avbench.training.inspect import describe

    if not isinstance(model, Method):
        return ""
    found = describe(state)
    return "" if found.fits_keys_of(model.name) else found.belongs()


def _hint(common: list[str], *, only_positions: bool) -> str:
    if not common:
        return "No key fits: it is another kind of model; see avbench checkpoint inspect."
    if only_positions:
        return (
            "Only position tables differ: set the input sizes of the checkpoint, or ask for the tables to be resized"
            " (where training starts from it: --set train.init_resize=true)."
        )
    return "Valid: every key of the model in its shape; see avbench checkpoint inspect, or name the keys to allow."


def _resized(state: State, model: nn.Module) -> State:
    fitted = dict(state)
    for key, grid in position_grids(model).items():
        table = state.get(key)
        if table is None or table.ndim != 3 or table.shape[1] == grid.size:
            continue
        # A spectrogram keeps its mel bins and changes its length; a frame stays square.
        side = round(table.shape[1] ** 0.5)
        old = Grid(side, side) if key.endswith("_v") else Grid(grid.rows, table.shape[1] // grid.rows)
        if old.size == table.shape[1]:
            fitted[key] = resize_table(table, old, grid)
    return fitted


def build_from_checkpoint(
    path: Path,
    *,
    method: str = "",
    model: Mapping[str, Any] | None = None,
    input: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Method:
    """Returns the pretrained method of a weights file, built from what the file says of itself.

    Args:
        path: The file.
        method: Name of the method; empty: the file's own.
        model: Fields of ModelConfig that override what was found; heads can be given only here for published files
            of unusual width.
        input: Fields of InputConfig that override.
        config: Fields of the method's settings that override.

    Raises:
        InputError: No checkpoint, not of a method, or a field that it does not tell and nobody gave.
    """
    from avbench import registry
    from avbench.training.inspect import describe

    checkpoint = read_checkpoint(path)
    description = describe(checkpoint.state, checkpoint.metadata)
    name = method or description.method
    if not name or not description.model:
        raise InputError(f"checkpoint {path}: found {description.summary}, valid: the pretraining weights of a method.")
    _check_kind(path, checkpoint, description)
    description.check_told(path, [f"model.{key}" for key in model or {}])
    module = (registry.find("method", name) if method else registry.installed("method", name)).load()
    own = description.config if name == description.method else {}
    try:
        sections = (
            change(module.CONFIG(), {**own, **(config or {})}, "method"),
            change(ModelConfig(), {**description.model, **(model or {})}, "model"),
            change(InputConfig(), {**description.input, **(input or {})}, "input"),
        )
        with torch.device("meta"):  # so that a file which does not fit costs no memory
            planned = module.METHOD(*sections)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    _check_method(path, checkpoint, planned)
    load_weights(planned, checkpoint.state, name=f"checkpoint {path}")
    built: Method = module.METHOD(*sections)
    load_weights(built, checkpoint.state, name=f"checkpoint {path}")
    return built


def sizes(path: Path, *, method: str = "", given: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Returns the settings a weights file implies, as a layer of a run's configuration.

    Args:
        path: The file.
        method: The method it is for; where the file tells that it is of the same, its options are returned too.
        given: Settings the user gives, such as ``model.num_heads``; they need not be told by the file.

    Returns:
        Sections ``model`` and ``input``, and ``method`` where known, with only the fields the file tells.

    Raises:
        InputError: No checkpoint, not of a model we know, or it does not tell a setting that is not given.
    """
    from avbench.training.inspect import describe

    checkpoint = read_checkpoint(path)
    description = describe(checkpoint.state, checkpoint.metadata)
    if not description.model:
        raise InputError(f"checkpoint {path}: found {description.summary}, valid: the weights of a method.")
    _check_kind(path, checkpoint, description)
    description.check_told(path, given)
    layer = {"model": dict(description.model), "input": dict(description.input)}
    if method and description.method == method:
        layer["method"] = dict(description.config)
    return layer


def _check_kind(path: Path, checkpoint: Checkpoint, description: Description) -> None:
    """Refuses what a file says is not the pretraining weights of a method, and tells which of several sets was read.

    Raises:
        InputError: It is a fine-tuned model.
    """
    if description.kind == "fine-tuned":
        raise InputError(
            f"checkpoint {path}: found {description.summary}, valid: pretraining weights; fine-tuned ones are judged by"
            f" --task classification --set {shlex.quote(f'task.weights={path}')}."
        )
    if checkpoint.taken:
        others = some(list(checkpoint.others))
        log.info("%s: the weights of its entry '%s' are used; the file also holds %s", path, checkpoint.taken, others)


def _check_method(path: Path, checkpoint: Checkpoint, model: nn.Module) -> None:
    """Refuses weights that say they are another method's, also where every key fits, as AV-MAE's fit CAV-MAE.

    A method from outside the package may take up the weights of the one it derives from.

    Raises:
        InputError: They are.
    """
    told = checkpoint.metadata.get("method", "")
    if told and isinstance(model, Method) and told != model.name and type(model).__module__.startswith("avbench."):
        raise InputError(f"checkpoint {path}: these are weights of {told}: --method {shlex.quote(str(told))}.")

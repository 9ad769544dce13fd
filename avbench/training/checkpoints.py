"""Weights files, in and out: our own safetensors and the authors' ``.pth`` (facts/cavmae.md 1.3 and 6).

In memory keys have no ``module.`` prefix; files may. Loading is strict: every key that does not fit is reported.
"""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.files import atomic_path, canonical_json
from avbench.methods.base import Method
from avbench.methods.positions import Grid, resize_table
from avbench.methods.tokens import Tokens
from avbench.settings import change, to_dict

State = dict[str, Tensor]

PREFIX = "module."  # what DataParallel puts before every key
METADATA_KEY = "avbench"
_WRAPPERS = ("model", "state_dict", "model_state_dict")  # where other projects' files keep the weights


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file."""

    state: State  # key without the prefix -> tensor, on the CPU
    metadata: dict[str, Any] = field(default_factory=dict)  # what save_weights wrote: method, config, model, input
    prefixed: bool = False  # the file's keys begin with ``module.``
    others: tuple[str, ...] = ()  # what else the file holds, such as an optimiser's state


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a weights file of any kind we know; nothing in it is executed.

    Raises:
        InputError: There is no such file, or it is not a checkpoint.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"checkpoint {path}: found {found}, valid: a .pth or .safetensors file of weights.")
    with path.open("rb") as handle:
        head = handle.read(9)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        loaded: Any = _read_torch(path, zipped=head[:2] == b"PK")
        metadata: dict[str, Any] = {}
    elif head[8:] == b"{":
        loaded, metadata = _read_safetensors(path)
    else:
        raise _no_checkpoint(path, "an empty file" if not head else "neither a PyTorch nor a safetensors file")
    state, others = _unwrap(loaded, path)
    prefixed = all(key.startswith(PREFIX) for key in state)
    if prefixed:
        state = {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}
    return Checkpoint(state, metadata, prefixed, others)


def read_state(path: Path) -> State:
    """Returns only the tensors of a weights file, without the ``module.`` prefix.

    Raises:
        InputError: There is no such file, or it is not a checkpoint.
    """
    return read_checkpoint(path).state


def _no_checkpoint(path: Path, found: str) -> InputError:
    return InputError(f"checkpoint {path}: found {found}, valid: a .pth or .safetensors file of weights.")


def _read_torch(path: Path, *, zipped: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle versions; a file that fails is reported below
            # Mapped, so that looking at the keys of a large file does not read it; only zip archives can be.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UnpicklingError:
        found = "a pickle that is damaged or holds more than tensors and plain values, and is not opened"
        raise _no_checkpoint(path, found) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError):
        raise _no_checkpoint(path, "a damaged or truncated PyTorch file") from None


def _read_safetensors(path: Path) -> tuple[State, dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(METADATA_KEY, "{}")
            metadata = json.loads(text)
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118  # not a mapping
    except (SafetensorError, json.JSONDecodeError, OSError):
        raise _no_checkpoint(path, "a damaged or truncated safetensors file") from None


def _unwrap(loaded: Any, path: Path) -> tuple[State, tuple[str, ...]]:
    """Returns the tensors of a file and the names of what else lies beside them."""
    others: tuple[str, ...] = ()
    if isinstance(loaded, Mapping):
        for name in _WRAPPERS:
            if isinstance(loaded.get(name), Mapping):
                others = tuple(str(key) for key in loaded if key != name)
                loaded = loaded[name]
                break
    if not isinstance(loaded, Mapping):
        raise _no_checkpoint(path, f"a stored {type(loaded).__name__}")
    wrong = [str(key) for key, value in loaded.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if wrong or not loaded:
        found = f"entries that are no tensors ({_some(wrong)})" if wrong else "no tensors"
        raise _no_checkpoint(path, found)
    return dict(loaded), others


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
        InputError: A key is missing, unexpected or of another shape; all of them are named in the message.
    """
    if isinstance(source, Path):
        name, state = f"checkpoint {source}", read_state(source)
    else:
        state = dict(source)
        if state and all(key.startswith(PREFIX) for key in state):
            state = {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}
    own = model.state_dict()
    if resize_positions and isinstance(model, Tokens):
        state = _resized(state, model)
    missing = _unnamed(own.keys() - state.keys(), allow_missing)
    unexpected = _unnamed(state.keys() - own.keys(), allow_unexpected)
    common = [key for key in own if key in state]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in common
        if state[key].shape != own[key].shape
    ]
    kinds = [f"{key} {state[key].dtype}" for key in common if not state[key].is_floating_point()]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "not floating point": kinds}
    if any(faults.values()):
        found = "; ".join(f"{len(keys)} {fault}: {_some(keys)}" for fault, keys in faults.items() if keys)
        hint = _hint(shapes, common)
        raise InputError(f"{name} does not fit {type(model).__name__}: {found}. {hint}")
    with torch.no_grad():
        for key in common:
            own[key].copy_(state[key])


def _unnamed(keys: Iterable[str], patterns: Iterable[str]) -> list[str]:
    allowed = tuple(patterns)
    return sorted(key for key in keys if not any(fnmatchcase(key, pattern) for pattern in allowed))


def _some(keys: list[str], most: int = 8) -> str:
    """Returns the keys as text; long lists as groups of keys that differ only in their numbers."""
    if len(keys) > most:
        groups: dict[str, int] = {}
        for key in keys:
            top = key.partition(".")[0].partition(" ")[0]
            groups[top] = groups.get(top, 0) + 1
        return ", ".join(f"{top} ({n})" for top, n in groups.items())
    return ", ".join(keys)


def _hint(shapes: list[str], common: list[str]) -> str:
    if not common:
        return "No key fits: it is another kind of model; see avbench checkpoint inspect."
    if shapes and all("pos_embed" in text for text in shapes):
        return (
            "Only position tables differ: set the input sizes of the checkpoint, or ask for the tables to be resized"
            " (where training starts from it: --set train.init_resize=true)."
        )
    return "Valid: every key of the model in its shape; see avbench checkpoint inspect, or name the keys to allow."


def _resized(state: State, model: Tokens) -> State:
    fitted = dict(state)
    for key, grid in model.position_grids().items():
        table = state.get(key)
        if table is None or table.ndim != 3 or table.shape[1] == grid.size:
            continue
        # A spectrogram keeps its mel bins and changes its length; a frame stays square.
        side = round(table.shape[1] ** 0.5)
        old = Grid(side, side) if key.endswith("_v") else Grid(grid.rows, table.shape[1] // grid.rows)
        if old.size == table.shape[1]:
            fitted[key] = resize_table(table, old, grid)
    return fitted


def weights_metadata(model: nn.Module) -> dict[str, Any]:
    """Returns what a weights file says of its model: method name and the settings that build it again."""
    if not isinstance(model, Method):
        return {"class": type(model).__name__}
    return {
        "method": model.name,
        "config": to_dict(model.config),
        "model": to_dict(model.model_config),
        "input": to_dict(model.input_config),
    }


def save_weights(
    path: Path,
    model: nn.Module,
    *,
    weights: Mapping[str, Tensor] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model's weights as safetensors, atomically, with the settings that build it again.

    Args:
        path: Ends in ``.safetensors``.
        model: The model.
        weights: Its weights by key, where it holds only a part of them.
        extra: More JSON values for the file's metadata, such as the step.
    """
    from safetensors.torch import save_file

    whole = model.state_dict() if weights is None else weights
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in whole.items()}
    metadata = {METADATA_KEY: canonical_json({**weights_metadata(model), **(extra or {})})}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata=metadata)


def export_published(path: Path, weights: nn.Module | Mapping[str, Tensor]) -> None:
    """Writes weights as the authors do: a bare OrderedDict whose keys begin with ``module.``, bit for bit.

    Args:
        path: Ends in ``.pth``.
        weights: A model, or keys and tensors, which keep their order and type.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    published = OrderedDict((PREFIX + key.removeprefix(PREFIX), t.detach().cpu()) for key, t in state.items())
    with atomic_path(path) as temporary:
        torch.save(published, temporary)


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
    description.check_told(path, [f"model.{key}" for key in model or {}])
    module = registry.find("method", name).load()
    own = description.config if name == description.method else {}
    built: Method = module.METHOD(
        change(module.CONFIG(), {**own, **(config or {})}, "method"),
        change(ModelConfig(), {**description.model, **(model or {})}, "model"),
        change(InputConfig(), {**description.input, **(input or {})}, "input"),
    )
    try:
        load_weights(built, checkpoint.state)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
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
    description.check_told(path, given)
    layer = {"model": dict(description.model), "input": dict(description.input)}
    if method and description.method == method:
        layer["method"] = dict(description.config)
    return layer

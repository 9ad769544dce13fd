"""Reads weights files: safetensors, and PyTorch archives and pickles; nothing in them is executed.

Other projects wrap the weights: in a mapping with other things beside them, and under keys with a prefix. What is told
apart without a doubt is unwrapped; what is not is refused, with the entries or the class that stand in the way.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor

from avbench.errors import InputError
from avbench.training.file_metadata import read_metadata
from avbench.training.inert import inert_globals

State = dict[str, Tensor]

PREFIX = "module."  # what DataParallel puts before every key
METADATA_KEY = "avbench"
# Where other projects' files keep the weights; where there are several, as beside their running mean, the first.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_PREFIXES = (PREFIX, "model.", "student.")  # of whole models; Lightning and distillation add the others
# Wrappers that compile, shard or recompute a part of a model name themselves in the middle of its keys.
_PASSING = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_LARGEST_HEADER = 100_000_000  # of a safetensors file, by its definition
_DEEPEST = 3  # mappings within mappings
_DAMAGED = "a damaged or truncated {} file"


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weights file."""

    state: State  # key without the prefix -> tensor, on the CPU
    metadata: dict[str, Any] = field(default_factory=dict)  # what save_weights wrote: method, config, model, input
    prefix: str = ""  # what every key of the file begins with, and was taken away
    others: tuple[str, ...] = ()  # what else the file holds, such as an optimiser's state
    taken: str = ""  # the entry that was read, where others hold weights, too

    @property
    def prefixed(self) -> bool:
        """Whether the file's keys begin with ``module.``."""
        return self.prefix.startswith(PREFIX)


class Keys(NamedTuple):
    """Tensors by their plain keys, and the prefix that every key had."""

    state: State
    prefix: str


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
    metadata: dict[str, Any] = {}
    records: Counter[int] | None = None
    if _is_safetensors(head):
        loaded: Any
        loaded, metadata = _read_safetensors(path)
    elif head[:2] == b"PK" or head[:1] == b"\x80":
        loaded = _read_torch(path, zipped=head[:2] == b"PK")
        records = _records(path) if head[:2] == b"PK" else None
    else:
        raise no_checkpoint(path, "an empty file" if not head else "neither a PyTorch nor a safetensors file")
    found_state, others, taken = _unwrap(loaded, path)
    _check_stored(found_state, path, records)
    state, prefix = plain_keys(found_state)
    wrapped = [key for key in state if key.startswith(PREFIX)]
    if wrapped:
        found = f"{len(wrapped)} of {len(state)} keys under '{PREFIX}' and the others without it"
        raise no_checkpoint(path, f"{found}, such as {wrapped[0][:80]}")
    return Checkpoint(state, metadata, prefix, others, taken)


def read_state(path: Path) -> State:
    """Returns only the tensors of a weights file, by their plain keys.

    Raises:
        InputError: There is no such file, or it is not a checkpoint.
    """
    return read_checkpoint(path).state


def no_checkpoint(path: Path, found: str) -> InputError:
    """Returns the error that a file is no checkpoint, but what was found."""
    return InputError(f"checkpoint {path}: found {found}, valid: a .pth or .safetensors file of weights.")


def plain_keys(state: Mapping[str, Tensor]) -> Keys:
    """Returns tensors without what wrappers put into their keys.

    ``module.``, ``model.`` and ``student.`` go where every key begins with them, as often as they are there; the names
    of wrappers that change nothing, such as ``_orig_mod.``, wherever they are.
    """
    names = {key: key for key in state}
    prefix = ""
    while names:
        first = {name[: name.find(".") + 1] for name in names.values()}
        common = first.pop() if len(first) == 1 else ""
        if common not in _PREFIXES and not _PASSING.fullmatch(common):
            break
        prefix += common
        names = {key: name.removeprefix(common) for key, name in names.items()}
    plain = {key: _PASSING.sub("", name) for key, name in names.items()}
    if len(set(plain.values())) < len(plain):  # a wrapped part beside the same part as it was: not ours to choose
        plain = names
    return Keys({plain[key]: tensor for key, tensor in state.items()}, prefix)


def some(keys: list[str], most: int = 8) -> str:
    """Returns the keys as text; long lists as groups of keys that begin alike."""
    if len(keys) > most:
        groups: dict[str, int] = {}
        for key in keys:
            top = key.partition(".")[0].partition(" ")[0]
            groups[top] = groups.get(top, 0) + 1
        found = [f"{top} ({n})" for top, n in groups.items()]
        return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
    return ", ".join(keys)


def _is_safetensors(head: bytes) -> bool:
    """Tells by the length of the header, little-endian, and its first letter; the length may begin with any byte."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def _read_torch(path: Path, *, zipped: bool) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(inert_globals()):
            warnings.simplefilter("ignore")  # about pickle versions; a file that fails is reported below
            # Mapped, so that looking at the keys of a large file does not read it; only zip archives can be.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UnpicklingError as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object of {name[1]}" if name else "more than tensors and plain values"
        found = f"a pickle that is damaged or holds {what}, and is not opened (keep the weights alone)"
        raise no_checkpoint(path, found) from None
    except Exception:  # the unpickler meets whatever a malformed file makes of its stack
        raise no_checkpoint(path, _DAMAGED.format("PyTorch")) from None


def _records(path: Path) -> Counter[int]:
    """Returns the sizes of what a PyTorch archive stores, and how often each is there."""
    try:
        with zipfile.ZipFile(path) as archive:
            return Counter(info.file_size for info in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile):
        raise no_checkpoint(path, _DAMAGED.format("PyTorch")) from None


def _check_stored(state: State, path: Path, records: Counter[int] | None) -> None:
    """Refuses tensors whose values are not all in the file, or that are more than the memory of this machine.

    Args:
        state: The tensors, which may be mapped from the file.
        path: The file.
        records: Sizes of what a PyTorch archive stores; a mapped tensor takes its own from elsewhere in the file.

    Raises:
        InputError: There are such tensors.
    """
    larger = [key for key, value in state.items() if value.untyped_storage().nbytes() < value.nbytes]
    if larger:
        found = f"{len(larger)} tensors of which less is stored than their shapes say: {some(larger)}"
        raise no_checkpoint(path, found)
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in state.values()}
    if records is not None and Counter(size for size in storages.values() if size) - records:
        raise no_checkpoint(path, "a PyTorch file whose parts are not of the size it says")
    _check_memory(sum(storages.values()), path)


def _check_memory(needed: int, path: Path) -> None:
    """Refuses so many bytes of weights where they are more than the memory of this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        found = f"{needed / 2**30:.0f} GiB of weights, more than the {memory / 2**30:.0f} GiB of memory here"
        raise no_checkpoint(path, found)


def _read_safetensors(path: Path) -> tuple[State, dict[str, Any]]:
    from safetensors import safe_open

    _check_memory(path.stat().st_size, path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
        "".join(state).encode()
    except Exception:  # of a malformed header, or one that asks for terabytes
        raise no_checkpoint(path, _DAMAGED.format("safetensors")) from None
    return state, read_metadata(path, METADATA_KEY)


def _unwrap(loaded: Any, path: Path) -> tuple[State, tuple[str, ...], str]:
    """Returns the tensors of a file, the names of what else lies beside them, and which of several was taken.

    Raises:
        InputError: There are none, or several sets of them and none that is the model by its name.
    """
    others: list[str] = []
    taken = ""
    for _ in range(_DEEPEST):
        if not isinstance(loaded, Mapping):
            break
        inner = [name for name, value in loaded.items() if isinstance(value, Mapping) and _holds_tensors(value)]
        wrapper = next((name for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
        if wrapper is None and inner and not _holds_tensors(loaded, 0):
            if len(inner) > 1:
                found = f"weights under {', '.join(map(str, inner))}, of which none is named {' or '.join(_WRAPPERS)}"
                raise no_checkpoint(path, found)
            wrapper = inner[0]
        if wrapper is None:
            break
        taken = taken or (str(wrapper) if len(inner) > 1 else "")
        others += [str(key) for key in loaded if key != wrapper]
        loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise no_checkpoint(path, f"a stored {_class(loaded)}")
    wrong = {str(key): value for key, value in loaded.items() if not (isinstance(key, str) and _tensor(value))}
    if wrong or not loaded:
        classes = ", ".join(dict.fromkeys(map(_class, wrong.values())))
        found = f"entries that are no tensors ({some(list(wrong))}): {classes}" if wrong else "no tensors"
        raise no_checkpoint(path, found)
    unusual = [f"{key} ({form})" for key, value in loaded.items() if (form := _form(value))]
    if unusual:
        raise no_checkpoint(path, f"{len(unusual)} tensors that are no plain arrays: {some(unusual)}")
    return dict(loaded), tuple(others), taken


def _form(tensor: Tensor) -> str:
    """Returns how a tensor keeps its values where that is not as a plain array."""
    if tensor.is_meta:
        return "meta, without values"
    return "" if tensor.layout is torch.strided else str(tensor.layout).removeprefix("torch.")


def _tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _holds_tensors(values: Mapping[Any, Any], deepest: int = _DEEPEST) -> bool:
    """Returns whether names lead to tensors, directly or within so many further mappings."""
    return any(
        isinstance(key, str)
        and (_tensor(value) or (deepest > 0 and isinstance(value, Mapping) and _holds_tensors(value, deepest - 1)))
        for key, value in values.items()
    )


def _class(value: object) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def not_finite(state: Mapping[str, Tensor], keys: Iterable[str]) -> list[str]:
    """Returns the keys whose tensors hold NaN or infinities as float32, with the value and how many there are."""
    found = []
    for key in keys:
        values = state[key].float()
        bad = ~values.isfinite()
        if values.device.type != "meta" and bool(bad.any()):
            number = int(bad.sum())
            found.append(f"{key} ({values[bad][0].item()}, {number} of {values.numel()} values)")
    return found


__all__ = [
    "METADATA_KEY",
    "PREFIX",
    "Checkpoint",
    "State",
    "no_checkpoint",
    "not_finite",
    "plain_keys",
    "read_checkpoint",
    "read_state",
    "some",
]

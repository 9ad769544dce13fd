"""Weights that pretraining starts from: of a related method, or of an image transformer (docs/protocol/cavmae.md 1.15).

What goes where is a table, and what is left over on either side must be named in one: nothing is skipped in silence.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from avbench.errors import InputError, did_you_mean
from avbench.files.paths import expanded
from avbench.methods.base import Method
from avbench.recipes.initial_weights import TIMM, known, locate, name_of
from avbench.store import seal
from avbench.training.checkpoints import load_weights
from avbench.training.inspect import describe
from avbench.training.weights_file import State, read_checkpoint

_WEIGHTS = "model.safetensors"  # of every timm model on the hub
_TIMEOUT_S = 5.0
DECODER = ("decoder_*", "mask_token")
# What an image transformer does not have: these keep their first values.
_ONLY_OURS = (
    *("modality_*", "decoder_modality_*", "pos_embed_a", "decoder_pos_embed_a"),
    *("blocks_[av].*.norm?_[av].*", "decoder_blocks.*.norm?_[av].*"),
    *("cls_token_*", "register_tokens", "constrative_head_*"),
)
# What we have no place for, of an image transformer: its class token and whatever classified by it.
_ONLY_THEIRS = ("cls_token", "head.*", "head_dist.*", "fc_norm.*", "pre_logits.*")
# What CAV-MAE Sync has beyond CAV-MAE.
_ONLY_SYNC = ("cls_token_a", "cls_token_v", "register_tokens", "constrative_head_*")


@dataclass(frozen=True)
class Initialised:
    """What became of a method's keys."""

    source: str
    copied: tuple[str, ...]
    kept: tuple[str, ...]  # keys of the method that keep their first values
    dropped: tuple[str, ...]  # keys of the source that have no place in the method

    def summary(self) -> str:
        """Returns one line for the log."""
        text = f"{len(self.copied)} tensors from {self.source}"
        for keys, fate in ((self.kept, "keep their first values"), (self.dropped, "of the source have no place")):
            text += f"; {len(keys)} {fate} ({_groups(keys)})" if keys else ""
        return text

    def to_dict(self) -> dict[str, Any]:
        """Returns what a record says of it."""
        return {"source": self.source, "copied": len(self.copied), "kept": self.kept, "dropped": self.dropped}


def initialise_from(
    method: Method,
    source: str,
    *,
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
    resize_positions: bool = False,
) -> Initialised:
    """Copies weights into a method; nothing is changed unless everything fits. On the meta device it only checks.

    Weights of the family (avbench's own or the authors') go to the keys of the same name. A decoder has no place in a
    method without one; CAV-MAE Sync's further tokens and heads keep their first values where the source has none. An
    image transformer's weights go where docs/protocol/cavmae.md 1.15 says.

    Args:
        method: The method with its first values.
        source: A weights file, the name of one (:mod:`avbench.recipes.initial_weights`), or ``timm:NAME``.
        allow_missing: More keys, or patterns, that may keep their first values, also where the source's shape differs.
        allow_unexpected: More keys, or patterns, of the source that may be left out.
        resize_positions: Fit position tables of another length to the method's grids.

    Raises:
        InputError: The source cannot be had, or a key is missing, unexpected or of another shape.
    """
    state, name = _read(source)
    own = method.state_dict()
    named = known().get(name_of(source))
    if named is not None and named.decoder and "decoder_embed.weight" not in state:
        raise InputError(f"{name}: found no decoder in it, valid: {named.get}; an encoder alone under another name.")
    missing, unexpected = list(allow_missing), list(allow_unexpected)
    without_place: set[str] = set()
    if describe(state).kind == "vit":
        mapped, used, without_place = _image_transformer(state, own, name)
        unexpected += _ONLY_THEIRS
        missing += _ONLY_OURS
        if "decoder_embed.weight" not in state:
            missing += DECODER
        unplaced = {key: state[key] for key in state.keys() - used - without_place}
    else:
        mapped, unplaced = dict(state), {}
        missing += _ONLY_SYNC
        unexpected.append("mlp_head.*")
        if "decoder_embed.weight" not in own:
            unexpected += DECODER
        if "cls_token_av" in state and "cls_token_a" not in own:  # left behind by the authors' adaptation script
            unexpected += ["cls_token_a", "cls_token_v", "cls_token_av"]
    for key in [key for key in mapped if key in own and mapped[key].shape != own[key].shape]:
        if _named(key, allow_missing):
            unplaced[key] = mapped.pop(key)
    load_weights(
        method,
        {**mapped, **{key: tensor for key, tensor in unplaced.items() if key not in own}},
        name=name,
        allow_missing=missing,
        allow_unexpected=unexpected,
        resize_positions=resize_positions,
    )
    copied = tuple(key for key in own if key in mapped)
    kept = tuple(key for key in own if key not in mapped)
    dropped = tuple(sorted({*unplaced, *without_place, *(mapped.keys() - own.keys())}))
    return Initialised(source, copied, kept, dropped)


def identity(source: str) -> dict[str, str]:
    """Returns what tells the weights from any others, for the id of what is made of them.

    Raises:
        InputError: They cannot be had.
    """
    source = locate(source)
    if not source.startswith(TIMM):
        return {"sha256": seal.sha256(_file(source))}
    digest = hashlib.sha256()
    for key, tensor in sorted(_read(source)[0].items()):
        digest.update(key.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return {"timm": source.removeprefix(TIMM), "sha256": digest.hexdigest()}


def _named(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _groups(keys: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(key.partition(".")[0] for key in keys))


def _file(source: str) -> Path:
    path = expanded(source)
    if not path.is_file():
        raise InputError(
            f"--init {source}: no such file; valid: a weights file, {', '.join(known())}, timm:NAME, the id of a run,"
            " none."
        )
    return path


def _read(source: str) -> tuple[State, str]:
    """Returns the tensors of a source, and what to call it in an error."""
    found = locate(source)
    if found.startswith(TIMM):
        return _timm(found.removeprefix(TIMM)), f"--init {source}"
    return read_checkpoint(_file(found)).state, f"--init {source}"


@functools.lru_cache(maxsize=1)
def _timm(name: str) -> State:
    import timm

    known = timm.list_pretrained()
    if name not in known and name not in timm.list_models(pretrained=True):
        raise InputError(
            f"--init timm:{name}: timm {timm.__version__} has no such weights.{did_you_mean(name, known)}"
            " Valid: a name of timm.list_pretrained('vit*')."
        )
    config = timm.get_pretrained_cfg(name)
    hub, url = config.hf_hub_id or "", config.url or ""
    cached = _cached(hub)
    try:
        if cached is None and not _reachable():
            raise OSError("no network")
        # Named as a file, so that what is here is not first asked for elsewhere, with a minute of retries.
        overlay = {} if cached is None else {"file": str(cached)}
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # timm and the hub raise many kinds, none of their own
        logging.getLogger("avbench").debug("timm:%s", name, exc_info=error)
        wanted = " or ".join(text for text in (hub and f"{_WEIGHTS} of '{hub}' on the Hugging Face hub", url) if text)
        raise InputError(
            f"--init timm:{name}: its weights are not on this machine and cannot be fetched. Wanted: {wanted};"
            " put it into the hub's cache (HF_HOME) where there is a network, or name the file: --init FILE."
        ) from None
    return dict(model.state_dict())


def _cached(hub: str) -> Path | None:
    """Returns the weights of a model of the hub where they are in its cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub, _WEIGHTS) if hub else None
    return Path(found) if isinstance(found, str) else None


def _reachable() -> bool:
    """Returns whether the hub answers at all; behind a proxy only the download itself can tell."""
    from huggingface_hub import constants

    if urllib.request.getproxies() or constants.HF_HUB_OFFLINE:
        return not constants.HF_HUB_OFFLINE
    endpoint = urllib.parse.urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((endpoint.hostname or "", endpoint.port or 443), timeout=_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _image_transformer(state: State, own: State, name: str) -> tuple[State, set[str], set[str]]:
    """Returns an image transformer's tensors under the method's keys.

    Returns:
        The tensors; which of its keys they come from; which have a place only in other methods, such as the decoder.

    Raises:
        InputError: It has another number of blocks.
    """
    depth, wanted = _blocks(state, "blocks"), _blocks(own, "blocks_v") + _blocks(own, "blocks_u")
    if depth != wanted:
        raise InputError(f"{name}: found {depth} blocks, valid: {wanted} = model.modality_depth + model.joint_depth.")
    mapped: State = {}
    used, without_place = set(), set()
    for key, tensor in state.items():
        targets = dict(_targets(key, tensor, state, own))
        here = {target: value for target, value in targets.items() if target in own}
        mapped |= here
        if here:
            used.add(key)
        elif targets and not key.startswith("blocks."):
            without_place.add(key)
    return mapped, used, without_place


def _targets(key: str, tensor: Tensor, state: State, own: State) -> Iterator[tuple[str, Tensor]]:
    """Yields where a tensor of an image transformer goes, and as what (the table of docs/protocol/cavmae.md 1.15)."""
    first, _, rest = key.partition(".")
    if first == "blocks":
        number, _, leaf = rest.partition(".")
        before_joint = _blocks(own, "blocks_v")
        if int(number) < before_joint:
            yield f"blocks_a.{rest}", tensor
            yield f"blocks_v.{rest}", tensor
            return
        block = f"blocks_u.{int(number) - before_joint}"
        yield f"{block}.{leaf}", tensor
        norm, _, kind = leaf.partition(".")
        if norm in ("norm1", "norm2"):
            yield f"{block}.{norm}_a.{kind}", tensor
            yield f"{block}.{norm}_v.{kind}", tensor
    elif first == "norm" or (first == "fc_norm" and "norm.weight" not in state):
        # Fine-tuned on the mean of the tokens, a transformer has its last norm there: the only one there is.
        yield from ((f"norm{suffix}.{rest}", tensor) for suffix in ("", "_a", "_v"))
    elif key == "patch_embed.proj.weight":
        yield "patch_embed_v.proj.weight", tensor
        yield "patch_embed_a.proj.weight", tensor.sum(dim=1, keepdim=True)
    elif key == "patch_embed.proj.bias":
        yield from ((f"patch_embed_{letter}.proj.bias", tensor) for letter in "av")
    elif key in ("pos_embed", "decoder_pos_embed"):
        yield f"{key}_v", tensor[:, 1:] if "cls_token" in state else tensor
    elif first == "decoder_pred":
        yield f"decoder_pred_v.{rest}", tensor
        rows = own.get(f"decoder_pred_a.{rest}")
        if rows is not None:
            yield f"decoder_pred_a.{rest}", tensor[: len(rows)]
    elif first.startswith("decoder_") or first == "mask_token":
        yield key, tensor


def _blocks(state: State, name: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})


__all__ = ["DECODER", "TIMM", "Initialised", "identity", "initialise_from"]

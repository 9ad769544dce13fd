"""What a weights file is, told from its keys and shapes: those of the published models, and of ours."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from avbench.config import InputConfig
from avbench.errors import InputError

# Widths per attention head of all published models; heads leave no trace in keys or shapes.
_ENCODER_HEAD_WIDTH = 64
_DECODER_HEAD_WIDTH = 32
_PATCHES = {"a": "patch_embed_a.proj.weight", "v": "patch_embed_v.proj.weight"}
# Name and method of what has one joint encoder, by its modalities.
_JOINT = {
    "av": ("Vanilla AV-MAE", "vanilla_avmae"),
    "a": ("Audio-MAE", "audiomae"),
    "v": ("Visual-MAE", "visualmae"),
}
# Methods whose keys are those of another: the contrast has no weights, and Sync may be without its tokens.
_SAME_KEYS = {"cavmae": ("avmae",)}


@dataclass(frozen=True)
class Description:
    """What a set of weights is. Sizes hold only what is known."""

    kind: str  # "pretraining", "fine-tuned", "vit" (one-modality MAE or timm) or "unknown"
    summary: str
    method: str = ""  # name of our method it belongs to
    n_classes: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)  # fields of ModelConfig
    input: Mapping[str, Any] = field(default_factory=dict)  # fields of InputConfig
    config: Mapping[str, Any] = field(default_factory=dict)  # fields of the method's settings; our own files tell all
    not_stated: tuple[str, ...] = ()  # settings that the file does not state; a key of the JSON
    position_tables: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # key -> shape
    registers: int = 0  # register tokens per modality
    global_tokens: bool = False
    contrastive_heads: bool = False
    n_tensors: int = 0
    n_values: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)  # name -> tensors

    def belongs(self) -> str:
        """Returns the words that say whose weights these are and how to use them."""
        if self.method:
            return f"these are weights of {self.method}: --method {shlex.quote(self.method)}"
        return f"this is {self.summary}"

    def fits_keys_of(self, method: str) -> bool:
        """Returns whether keys like these may be the method's; True where nothing is known of them."""
        return not self.method or method == self.method or method in _SAME_KEYS.get(self.method, ())

    def check_told(self, path: Path, given: Iterable[str]) -> None:
        """Checks that what the file does not tell is given.

        Raises:
            InputError: A setting is neither told nor given.
        """
        missing = [key for key in self.not_stated if key not in set(given)]
        if missing:
            example = " ".join(f"--set {key}=N" for key in missing)
            raise InputError(f"checkpoint {path}: its shapes do not tell {' and '.join(missing)}; give {example}.")


def describe(
    state: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None, *, n_mels: int | None = None
) -> Description:
    """Says what a state is, from its keys and shapes alone.

    Args:
        state: Keys without the ``module.`` prefix, and tensors (also on the meta device).
        metadata: What our own files say of themselves; it tells what shapes cannot.
        n_mels: Mel bins of the spectrogram, which the number of audio patches does not tell; the default's otherwise.
    """
    common: dict[str, Any] = {
        "n_tensors": len(state),
        "n_values": sum(tensor.numel() for tensor in state.values()),
        "dtypes": dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in state.values())),
        "position_tables": {key: tuple(t.shape) for key, t in state.items() if "pos_embed" in key},
    }
    if metadata and all(isinstance(metadata.get(key), Mapping) for key in ("config", "model", "input")):
        name = str(metadata.get("method", ""))
        return Description(
            kind="pretraining",
            method=name,
            summary=f"{name} pretraining weights of avbench",
            model=metadata["model"],
            input=metadata["input"],
            config=metadata["config"],
            **common,
        )
    try:
        if any({key, f"pos_embed_{letter}"} <= state.keys() for letter, key in _PATCHES.items()):
            return _audio_visual(state, n_mels or InputConfig().n_mels, common)
        if {"patch_embed.proj.weight", "pos_embed", "blocks.0.attn.qkv.weight"} <= state.keys():
            return _vit(state, common)
    except (ValueError, IndexError, ZeroDivisionError):  # a shape with other axes than those of a transformer
        pass
    names = ", ".join(dict.fromkeys(f"{key.partition('.')[0]}." if "." in key else key for key in state))
    summary = f"weights of no model known here (keys begin with {names[:200]})"
    return Description(kind="unknown", summary=summary, **common)


def _family(state: Mapping[str, Tensor]) -> Description:
    """Says to which of our methods the keys belong, and which of its options they tell."""
    head = (
        f"mlp_head.{_depth(state, 'mlp_head') - 1}.weight" if "mlp_head.1.weight" in state else "classifier_head.weight"
    )
    classes = state[head].shape[0] if head in state else 0
    registers = state["register_tokens"].shape[0] // 2 if "register_tokens" in state else 0
    # The authors' script that adapts ImageNet-MAE weights leaves unused class tokens behind, cls_token_av among them.
    global_tokens = "cls_token_a" in state and "cls_token_av" not in state
    heads = _depth(state, "constrative_head_audio")
    config: dict[str, Any] = {}
    if "norm_a.weight" in state:
        sync = bool(registers or global_tokens or heads)
        name, method = ("CAV-MAE Sync", "cavmae_sync") if sync else ("CAV-MAE", "cavmae")
        config["modality_norms"] = "blocks_u.0.norm1_a.weight" in state
        if sync:
            config |= {"registers": registers, "global_token": global_tokens, "head_depth": heads}
    else:  # one joint encoder, of one modality or both
        name, method = _JOINT["".join(letter for letter, key in _PATCHES.items() if key in state)]
    kind, summary = "pretraining", f"{name} pretraining weights"
    if classes:
        kind, method, summary = "fine-tuned", "", f"a fine-tuned {name} classifier of {classes} classes"
    elif "decoder_embed.weight" not in state:
        kind, summary = "encoder", f"a {name} encoder without decoder or head"
        method = "cav" if method == "cavmae" else ""  # which has none
    return Description(
        kind=kind,
        method=method,
        summary=summary,
        n_classes=classes,
        config=config,
        registers=registers,
        global_tokens="cls_token_a" in state,
        contrastive_heads=heads > 0,
    )


def _audio_visual(state: Mapping[str, Tensor], n_mels: int, common: Mapping[str, Any]) -> Description:
    family = _family(state)
    dim, _, patch, _ = next(state[key] for key in _PATCHES.values() if key in state).shape
    model: dict[str, Any] = {
        "embed_dim": dim,
        "patch_size": patch,
        "modality_depth": _depth(state, "blocks_a"),
        "joint_depth": _depth(state, "blocks_u"),
    }
    fc1 = state.get("blocks_u.0.mlp.fc1.weight")
    if fc1 is not None:
        model["mlp_ratio"] = fc1.shape[0] / dim
    not_stated = _heads(model, "num_heads", dim, _ENCODER_HEAD_WIDTH, known=True)
    if "decoder_embed.weight" in state:
        width = state["decoder_embed.weight"].shape[0]
        model |= {"decoder_embed_dim": width, "decoder_depth": _depth(state, "decoder_blocks")}
        not_stated += _heads(model, "decoder_num_heads", width, _DECODER_HEAD_WIDTH, known=not not_stated)
    input: dict[str, Any] = {}
    if "pos_embed_a" in state:
        length = state["pos_embed_a"].shape[1] // max(n_mels // patch, 1) * patch
        windows = family.registers or family.contrastive_heads or family.config.get("global_token")
        input |= {"n_mels": n_mels, ("segment_length" if windows else "target_length"): length}
    if "pos_embed_v" in state:
        input["image_size"] = round(state["pos_embed_v"].shape[1] ** 0.5) * patch
    return replace(family, model=model, input=input, not_stated=tuple(not_stated), **common)


def _vit(state: Mapping[str, Tensor], common: Mapping[str, Any]) -> Description:
    """A vision transformer of one modality, as MAE and timm store it."""
    dim, channels, patch, _ = state["patch_embed.proj.weight"].shape
    depth = _depth(state, "blocks")
    parts = "with decoder" if "decoder_embed.weight" in state else "without decoder"
    parts += ", with a classification head" if "head.weight" in state else ""
    return Description(
        kind="vit",
        summary=f"an image transformer: width {dim}, {depth} blocks, {channels} colours, patch {patch}, {parts}",
        n_classes=state["head.weight"].shape[0] if "head.weight" in state else 0,
        global_tokens="cls_token" in state,
        **common,
    )


def _depth(state: Mapping[str, Tensor], name: str) -> int:
    """Returns the number of blocks under ``name``."""
    numbers = [int(m[1]) for key in state if (m := re.match(rf"{name}\.(\d+)\.", key))]
    return max(numbers, default=-1) + 1


def _heads(model: dict[str, Any], key: str, dim: int, width: int, *, known: bool) -> list[str]:
    """Adds the heads of published widths to ``model``, or returns the setting that is not stated."""
    if known and dim % width == 0:
        model[key] = dim // width
        return []
    return [f"model.{key}"]

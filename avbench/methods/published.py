"""Where each part of a model is in the authors' files: one table, so that models may be composed as they are read.

A model's ``state_dict``, ``named_parameters`` and weights files carry the published keys, in the published order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

# Ours, and theirs with the misspelling; in the order of their files: single tensors, then the modules.
KEYS: Mapping[str, str] = {
    "encoder.audio.place.modality": "modality_a",
    "encoder.visual.place.modality": "modality_v",
    "encoder.audio.place.positions": "pos_embed_a",
    "encoder.visual.place.positions": "pos_embed_v",
    "encoder.registers": "register_tokens",
    "decoder.mask_token": "mask_token",
    "decoder.audio.place.modality": "decoder_modality_a",
    "decoder.visual.place.modality": "decoder_modality_v",
    "decoder.audio.place.positions": "decoder_pos_embed_a",
    "decoder.visual.place.positions": "decoder_pos_embed_v",
    "encoder.global_audio": "cls_token_a",
    "encoder.global_visual": "cls_token_v",
    "head.token": "cls_cls_token",
    "encoder.audio.patches": "patch_embed_a",
    "encoder.visual.patches": "patch_embed_v",
    "encoder.audio.blocks": "blocks_a",
    "encoder.visual.blocks": "blocks_v",
    "encoder.joint.blocks": "blocks_u",
    "encoder.joint.norm_a": "norm_a",
    "encoder.joint.norm_v": "norm_v",
    "encoder.joint.norm": "norm",
    "decoder.embed": "decoder_embed",
    "decoder.blocks": "decoder_blocks",
    "decoder.norm": "decoder_norm",
    "decoder.audio.predict": "decoder_pred_a",
    "decoder.visual.predict": "decoder_pred_v",
    "encoder.head_audio": "constrative_head_audio",
    "encoder.head_visual": "constrative_head_visual",
    "head.mlp": "mlp_head",
    "head.layers": "classifier_layers",
    "head.norm": "classifier_norm",
    "head.output": "classifier_head",
}
_OWN = {theirs: ours for ours, theirs in KEYS.items()}
_ORDER = {theirs: place for place, theirs in enumerate(KEYS.values())}


@functools.lru_cache(maxsize=4096)
def published_key(key: str) -> str:
    """Returns the published key of a parameter of ours; of one that the authors do not have, its own."""
    return _renamed(key, KEYS)


def _renamed(key: str, names: Mapping[str, str]) -> str:
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        name = names.get(".".join(parts[:length]))
        if name is not None:
            return ".".join([name, *parts[length:]])
    return key


def _place(key: str) -> int:
    """Returns where a published key stands in the authors' order; parameters that they do not have come last."""
    return _ORDER.get(key.partition(".")[0], len(_ORDER))


class Published(nn.Module):
    """A model made of parts whose parameters go by the published keys."""

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(_publish)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_unpublish)  # type: ignore[no-untyped-call]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the parameters by published key, in the published order; ``parameters`` follows it.

        Args:
            prefix: Put before each key.
            recurse: Whether parts' parameters are among them.
            remove_duplicate: Whether one that two parts share comes once.
        """
        named = super().named_parameters("", recurse, remove_duplicate)
        keyed = sorted(((published_key(name), tensor) for name, tensor in named), key=lambda pair: _place(pair[0]))
        start = f"{prefix}." if prefix else ""
        yield from ((start + key, tensor) for key, tensor in keyed)

    def get_parameter(self, target: str) -> nn.Parameter:
        """Returns a parameter by its published key."""
        return super().get_parameter(_renamed(target, _OWN))


def _publish(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    ours = [key for key in state if key.startswith(prefix)]
    keyed = {published_key(key.removeprefix(prefix)): state.pop(key) for key in ours}
    for key in sorted(keyed, key=_place):
        state[prefix + key] = keyed[key]


def _unpublish(module: nn.Module, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        tensor = state.pop(key)
        state[prefix + _renamed(key.removeprefix(prefix), _OWN)] = tensor

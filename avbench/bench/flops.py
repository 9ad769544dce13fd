"""FLOPs of one pretraining step by formula, from the sizes of a method's configuration.

Model FLOPs are what the matrix products of a step need, a multiply-add counted as two: patch projections over all
patches, transformer blocks over the tokens they see, the decoder over all tokens, and the similarities of the
contrast. The backward pass needs two products for each of the forward pass, one for the gradient of each factor; for
the patch projections one, since nothing asks for the gradient of pixels.

Left out, as is usual for model FLOPs utilisation: softmax, LayerNorm, GELU, biases and sums, masks, losses, the
optimiser, and what fused attention computes a second time in its backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from avbench import registry
from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import ContrastConfig, Method
from avbench.methods.cavmae_sync import CavMaeSync
from avbench.methods.decoder import Decoder
from avbench.methods.masking import MaskPlan
from avbench.methods.pair import MaskedPair
from avbench.methods.tokens import Tokens
from avbench.methods.vanilla_avmae import VanillaAvMae
from avbench.methods.vit import uninitialised
from avbench.settings import Settings

PATCHES = "patch projections"


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one clip in one pretraining step; a clip is one sound and one frame."""

    parts: Mapping[str, float]  # of the forward pass

    @property
    def forward(self) -> float:
        """Those of the forward pass."""
        return sum(self.parts.values())

    @property
    def backward(self) -> float:
        """Those of the backward pass: twice the forward pass, but once the patch projections."""
        return 2 * self.forward - self.parts[PATCHES]

    @property
    def step(self) -> float:
        """Those of both passes."""
        return self.forward + self.backward


def blueprint(name: str, config: Settings, model: ModelConfig, input: InputConfig) -> Method:
    """Returns a method without weights, on the meta device: enough for :func:`step_flops`, at any size.

    Raises:
        InputError: An unknown method, or sizes that do not fit each other.
    """
    with uninitialised():
        method: Method = registry.find("method", name).load().METHOD(config, model, input)
    return method


def step_flops(method: Method, batch: int) -> Flops:
    """Returns the FLOPs of one clip in a pretraining step.

    Where the masking ratio is drawn anew for each batch, those at the middle of its range.

    Args:
        method: One of this package's seven; only its sizes are read.
        batch: Clips of a step in one process, B: the contrast compares each clip with all B.

    Raises:
        InputError: Another package's method.
    """
    if isinstance(method, VanillaAvMae):
        return Flops(_one_encoder(method))
    if isinstance(method, MaskedPair):
        return Flops(_two_encoders(method, batch))
    raise InputError(f"FLOPs of {type(method).__name__}: found no formula, valid: the methods of avbench itself.")


def _one_encoder(method: VanillaAvMae) -> dict[str, float]:
    """Vanilla AV-MAE, Audio-MAE and Visual-MAE: one encoder over the kept tokens (paper 2.2)."""
    model, kept = method.model_config, _kept(method.plan)
    return {
        PATCHES: _patches(method),
        "encoder": (model.modality_depth + model.joint_depth) * _encoder_block(model, kept),
        "decoder": _decoder(method, kept),
    }


def _two_encoders(method: MaskedPair, batch: int) -> dict[str, float]:
    """CAV, AV-MAE, CAV-MAE and Sync: up to three passes of the joint encoder (paper 2.3; facts/cavmae_sync.md 1)."""
    model, config = method.model_config, method.config
    kept = [_kept(method.plan_a), _kept(method.plan_v)]
    globals_, registers, head_depth, compared = 0, 0, 0, 1
    kept_registers = 0  # those that pass the joint encoder, too
    if isinstance(method, CavMaeSync):
        sync = method.config
        globals_, registers, head_depth = int(sync.global_token), sync.registers, sync.head_depth
        kept_registers = registers if sync.keep_registers else 0
        compared = 2 if sync.global_local else 1
    contrasts = isinstance(config, ContrastConfig) and getattr(config, "lambda_c", 1.0) > 0
    reconstructs = isinstance(method, Decoder) and getattr(config, "lambda_r", 1.0) > 0

    def blocks(depth: int, extra: int) -> float:
        return depth * sum(_encoder_block(model, n + extra) for n in kept)

    parts = {PATCHES: _patches(method), "modality encoders": blocks(model.modality_depth, globals_ + registers)}
    if contrasts:
        parts["joint encoder, single streams"] = blocks(model.joint_depth, globals_ + kept_registers)
        parts["heads"] = blocks(head_depth, globals_)
        parts["contrast"] = compared * _product(batch, model.embed_dim, 1)
    if reconstructs and isinstance(method, Decoder):
        tokens = sum(kept) + 2 * kept_registers
        parts["joint encoder, joint stream"] = model.joint_depth * _encoder_block(model, tokens)
        parts["decoder"] = _decoder(method, sum(kept))
    return parts


def _product(rows: float, inner: float, columns: float) -> float:
    """FLOPs of a (rows, inner) by (inner, columns) matrix product."""
    return 2.0 * rows * inner * columns


def _block(tokens: int, dim: int, mlp_ratio: float) -> float:
    """A block over N tokens: queries, keys, values and output, Q K^T and its product with V, and the MLP.

    The number of heads does not matter: H products of width D / H cost what one of width D does.
    """
    projections = _product(tokens, dim, 4 * dim)
    attention = 2 * _product(tokens, dim, tokens)
    mlp = 2 * _product(tokens, dim, int(dim * mlp_ratio))
    return projections + attention + mlp


def _encoder_block(model: ModelConfig, tokens: int) -> float:
    return _block(tokens, model.embed_dim, model.mlp_ratio)


def _patches(method: Tokens) -> float:
    """The projections of all patches: masks fall on tokens."""
    dim, side = method.model_config.embed_dim, method.model_config.patch_size
    return sum(_product(grid.size, side**2 * method.channels(letter), dim) for letter, grid in method.grids.items())


def _decoder(method: Decoder, kept: int) -> float:
    """Its input projection over the kept tokens, then blocks and predictions over all of them (paper 2.2)."""
    model, width = method.model_config, method.model_config.decoder_embed_dim
    tokens = sum(grid.size for grid in method.grids.values())
    predictions = sum(
        _product(grid.size, width, model.patch_size**2 * method.channels(letter))
        for letter, grid in method.grids.items()
    )
    blocks = model.decoder_depth * _block(tokens, width, model.mlp_ratio)
    return _product(kept, model.embed_dim, width) + blocks + predictions


def _kept(plan: MaskPlan) -> int:
    """Returns how many tokens a mask keeps."""
    if plan.ratio_range is None:
        return plan.n_kept
    return replace(plan, ratio=sum(plan.ratio_range) / 2, ratio_range=None).n_kept

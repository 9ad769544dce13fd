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
from avbench.methods.base import Method
from avbench.methods.decoder import Decoder
from avbench.methods.encoder import Encoder
from avbench.methods.family import FamilyMethod
from avbench.methods.masking import MaskPlan, PairPlan
from avbench.methods.options import ContrastConfig
from avbench.methods.sync_encoder import SyncEncoder
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

    Args:
        name: The method.
        config: Its settings.
        model: Sizes of its transformer.
        input: Sizes of what it reads.

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
    plan = getattr(method, "plan", None)
    if isinstance(method, FamilyMethod) and isinstance(plan, MaskPlan):
        return Flops(_one_encoder(method, plan))
    if isinstance(method, FamilyMethod) and isinstance(plan, PairPlan):
        return Flops(_two_encoders(method, plan, batch))
    raise InputError(f"FLOPs of {type(method).__name__}: found no formula, valid: the methods of avbench itself.")


def _one_encoder(method: FamilyMethod, plan: MaskPlan) -> dict[str, float]:
    """Vanilla AV-MAE, Audio-MAE and Visual-MAE: one encoder over the kept tokens (paper 2.2)."""
    model, kept = method.model_config, _kept(plan)
    return {
        PATCHES: _patches(method.encoder),
        "encoder": (model.modality_depth + model.joint_depth) * _encoder_block(model, kept),
        "decoder": _decoder(method.encoder, kept),
    }


def _two_encoders(method: FamilyMethod, plan: PairPlan, batch: int) -> dict[str, float]:
    """CAV, AV-MAE, CAV-MAE and Sync: up to three passes of the joint encoder (paper 2.3)."""
    model, config, encoder = method.model_config, method.config, method.encoder
    kept = [_kept(plan.audio), _kept(plan.visual)]
    globals_, registers, head_depth = 0, 0, 0
    kept_registers = 0  # those that pass the joint encoder, too
    if isinstance(encoder, SyncEncoder):
        extra = encoder.extra
        globals_, registers, head_depth = int(extra.global_token), extra.registers, extra.head_depth
        kept_registers = registers if extra.keep_registers else 0
    compared = 2 if getattr(config, "global_local", False) else 1
    contrasts = isinstance(config, ContrastConfig) and getattr(config, "lambda_c", 1.0) > 0
    reconstructs = isinstance(method.decoder, Decoder) and getattr(config, "lambda_r", 1.0) > 0

    def blocks(depth: int, extra: int) -> float:
        return depth * sum(_encoder_block(model, n + extra) for n in kept)

    parts = {PATCHES: _patches(encoder), "modality encoders": blocks(model.modality_depth, globals_ + registers)}
    if contrasts:
        parts["joint encoder, single streams"] = blocks(model.joint_depth, globals_ + kept_registers)
        parts["heads"] = blocks(head_depth, globals_)
        parts["contrast"] = compared * _product(batch, model.embed_dim, 1)
    if reconstructs:
        tokens = sum(kept) + 2 * kept_registers
        parts["joint encoder, joint stream"] = model.joint_depth * _encoder_block(model, tokens)
        parts["decoder"] = _decoder(encoder, sum(kept))
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


def _patches(encoder: Encoder) -> float:
    """The projections of all patches: masks fall on tokens."""
    dim, side = encoder.model_config.embed_dim, encoder.model_config.patch_size
    return sum(_product(grid.size, side**2 * encoder.of(name).channels, dim) for name, grid in encoder.grids.items())


def _decoder(encoder: Encoder, kept: int) -> float:
    """Its input projection over the kept tokens, then blocks and predictions over all of them (paper 2.2)."""
    model, width = encoder.model_config, encoder.model_config.decoder_embed_dim
    tokens = sum(grid.size for grid in encoder.grids.values())
    predictions = sum(
        _product(grid.size, width, model.patch_size**2 * encoder.of(name).channels)
        for name, grid in encoder.grids.items()
    )
    blocks = model.decoder_depth * _block(tokens, width, model.mlp_ratio)
    return _product(kept, model.embed_dim, width) + blocks + predictions


def _kept(plan: MaskPlan) -> int:
    """Returns how many tokens a mask keeps."""
    if plan.ratio_range is None:
        return plan.n_kept
    return replace(plan, ratio=sum(plan.ratio_range) / 2, ratio_range=None).n_kept

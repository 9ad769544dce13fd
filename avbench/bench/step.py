"""A training step and a feature extraction at full size, against the plain way of doing the same.

Plain is the same model with attention written as softmax(Q K^T) V and Adam that updates one parameter after the
other, in float32. Both train the same weights in turn.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor

from avbench.bench.timing import Timing, compare
from avbench.config import InputConfig, ModelConfig, Precision, TrainConfig
from avbench.data.feed.batch import Batch
from avbench.methods.base import Method
from avbench.methods.cavmae import CavMae
from avbench.methods.options import CavMaeConfig
from avbench.methods.vit import Attention
from avbench.rng import torch_stream
from avbench.training.metrics_log import MetricsLog
from avbench.training.objective import PretrainingLoss
from avbench.training.optimizer import build_optimizer
from avbench.training.precision import autocast, gradient_scaler
from avbench.training.session import Session
from avbench.training.share import Share
from avbench.training.state import Checkpoints, TrainState

STEP_TARGETS: dict[Precision, float] = {"fp32": 1.8, "bf16": 3.0}
FEATURES_TARGETS: dict[Precision, float] = {"bf16": 3.0}  # of an AVX-512 CPU with bf16 instructions
_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
_CLIPS = 4


def _plain_forward(self: Attention, x: Tensor) -> Tensor:
    batch, n, dim = x.shape
    qkv = self.qkv(x).reshape(batch, n, 3, self.num_heads, dim // self.num_heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, N, D / heads) each
    weights = ((query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5).softmax(dim=-1)
    out: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, n, dim))
    return out


@contextlib.contextmanager
def plain_attention(model: torch.nn.Module) -> Iterator[None]:
    """Replaces fused attention inside the block."""
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    for layer in layers:
        layer.forward = MethodType(_plain_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own again


def _batch(method: Method) -> Batch:
    """Returns noise of the model's input sizes; the time does not depend on the content."""
    inputs, draw = method.input_config, torch_stream(0, "bench")
    audio = torch.randn(_CLIPS, inputs.target_length, inputs.n_mels, generator=draw)
    visual = torch.randn(_CLIPS, 3, inputs.image_size, inputs.image_size, generator=draw)
    return Batch(torch.arange(_CLIPS), audio, visual)


def session_of(method: Method, config: TrainConfig, precision: Precision, folder: Path, device: str = "cpu") -> Session:
    """Returns what makes the training loop's own steps.

    Args:
        method: On the device.
        config: The recipe.
        precision: Arithmetic of the forward pass.
        folder: For what the training would write.
        device: Where to compute.
    """
    return Session(
        method=method,
        objective=PretrainingLoss(method),
        config=config,
        optimizer=build_optimizer(method, config, device),
        scaler=gradient_scaler(precision, device),
        precision=precision,
        device=device,
        seed=0,
        steps=10**6,
        steps_per_epoch=10**6,
        directory=folder,
        clip_id=str,
        checkpoints=Checkpoints(folder, "bench", keep=1),
        state=TrainState("bench"),
        metrics=MetricsLog(folder, step=0),
        share=Share.whole(config),
        parallel=method,
    )


def _plain(method: Method, config: TrainConfig) -> Callable[[Batch], None]:
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(
        trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, foreach=False, fused=False
    )

    def step(batch: Batch) -> None:
        with plain_attention(method):
            noise = method.draw_noise(_CLIPS, torch_stream(0, "mask", 0))
            adam.zero_grad()
            method(batch.audio, batch.visual, noise).loss.backward()
            adam.step()

    return step


def benchmark(repeats: int = 5, model: ModelConfig | None = None) -> list[Timing]:
    """Times one step and one extraction of four clips on the CPU, with as many threads as torch has.

    Args:
        repeats: Calls of each, after one that is not counted.
        model: Sizes; the defaults are ViT-Base's, which takes 6 GB of memory.
    """
    method = CavMae(CavMaeConfig(), model or ModelConfig(), InputConfig())
    config, batch, rows = TrainConfig(batch_size=_CLIPS, lr=1e-6), _batch(method), []

    @torch.inference_mode()
    def embed(precision: Precision) -> None:
        with autocast(precision, "cpu"):
            method.embed(*batch.inputs("cpu"))

    def embed_plainly() -> None:
        with plain_attention(method):
            embed("fp32")

    for precision in _PRECISIONS:
        name = f"features, {_CLIPS} clips, {precision}"
        target = FEATURES_TARGETS.get(precision, float("nan"))
        rows.append(compare(name, partial(embed, precision), embed_plainly, target=target, repeats=repeats))
    plain = partial(_plain(method, config), batch)
    for precision in _PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            ours = partial(session_of(method, config, precision, Path(folder)).step, batch, 0.0)
            name = f"training step, {_CLIPS} clips, {precision}"
            rows.append(compare(name, ours, plain, target=STEP_TARGETS[precision], repeats=repeats))
            del ours  # its averages, before the next one's
    return rows

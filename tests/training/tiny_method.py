"""A small two-tower method and made-up clips, and processes that train it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.errors import RunError, Stopped
from avbench.methods.base import Method
from avbench.methods.masking import Draws, MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.rng import numpy_stream, torch_stream
from avbench.settings import Settings
from avbench.training.loop import TrainResult, pretrain

__all__ = ["RunError", "Stopped", "torch_stream"]

WIDTH, CLIPS, BATCH = 12, 40, 8
PER_EPOCH = CLIPS // BATCH
STAGE = "0123456789abcdef"


class TinyBatch(NamedTuple):
    index: Tensor
    audio: Tensor
    visual: Tensor


class TinyMethod(Method):
    """Two linear towers; noise drops inputs, and ``separable`` says whether clips know of each other."""

    name = "tiny"

    def __init__(self, seed: int = 0, *, separable: bool = True) -> None:
        super().__init__()
        self.config, self.model_config, self.input_config = Settings(), ModelConfig(), InputConfig()
        self.separable = separable
        self.audio = nn.Linear(WIDTH, 6)
        self.visual = nn.Linear(WIDTH, 6)
        self.fixed = nn.Parameter(torch.ones(6), requires_grad=False)
        self.unused = nn.LayerNorm(6)
        generator = torch_stream(seed, "weights")
        with torch.no_grad():
            for parameter in (*self.audio.parameters(), *self.visual.parameters()):
                parameter.normal_(0, 0.3, generator=generator)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        audio = Draws(torch.rand(batch, WIDTH, generator=generator))
        return MaskNoise(audio, Draws(torch.rand(batch, WIDTH, generator=generator)))

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        assert noise.audio is not None
        assert noise.visual is not None
        a = self.audio(audio * (noise.audio.tokens > 0.5)) * self.fixed
        v = self.visual(visual * (noise.visual.tokens > 0.5)) * self.fixed
        distance = (a - v).float().square().mean()
        spread = (a.float().square().mean() - 1).square() if not self.separable else a.float().square().mean()
        return PretrainOutput(distance + 0.1 * spread, {"distance": distance.detach(), "spread": spread.detach()})

    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return self.audio(audio), self.visual(visual)


def clips(index: Tensor) -> TinyBatch:
    rows = [torch.randn(2, WIDTH, generator=torch_stream(0, "clip", int(i))) for i in index]
    both = torch.stack(rows)
    return TinyBatch(index, both[:, 0], both[:, 1])


def batches(epoch: int, skip: int) -> Iterator[TinyBatch]:
    order = torch.from_numpy(numpy_stream(3, "order", epoch).permutation(CLIPS))
    for start in range(skip * BATCH, CLIPS, BATCH):
        yield clips(order[start : start + BATCH])


def tuning() -> Iterator[TinyBatch]:
    yield clips(torch.arange(100, 108))
    yield clips(torch.arange(108, 111))


def config(**changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "steps": 23,
        "batch_size": BATCH,
        "lr": 0.01,
        "log_every": 4,
        "checkpoint_seconds": 1000.0,
        "decay_start": 2,
        "decay_every": 1,
        "tensorboard": False,
        **changes,
    }
    return TrainConfig(**values)


def train(
    directory: Path,
    settings: TrainConfig | None = None,
    *,
    method: Method | None = None,
    feed: Callable[[int, int], Iterator[TinyBatch]] = batches,
    **options: Any,
) -> TrainResult:
    keywords: dict[str, Any] = {"precision": "fp32", "device": "cpu", "stage": STAGE, "seed": 5, **options}
    return pretrain(
        method or TinyMethod(),
        feed,
        settings or config(),
        steps_per_epoch=PER_EPOCH,
        directory=directory,
        clip_id=lambda i: f"clip{i:03d}",
        progress=False,
        **keywords,
    )


@dataclass
class Stop:
    """A ``stop`` that says yes at the nth question."""

    after: int
    asked: int = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.after


def slow(epoch: int, skip: int) -> Iterator[TinyBatch]:
    for batch in batches(epoch, skip):
        time.sleep(0.004)
        yield batch


def train_slowly(directory: Path) -> None:
    """One run of 200 steps with many checkpoints, to be killed."""
    torch.set_num_threads(1)
    train(directory, config(steps=200, checkpoint_seconds=0.02), feed=slow, validate=tuning)


def process(target: Callable[..., None], *arguments: Any) -> Any:
    """Starts ``target`` in a process of its own; torch is imported once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["avbench.training.loop", "torch._dynamo"])  # the optimiser imports the second
    started = context.Process(target=target, args=arguments)
    started.start()
    return started

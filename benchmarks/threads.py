"""A training on a CPU that takes idle cores, against one thread: ``benchmarks/threads.py [--steps N] [--repeats N]``.

The embedded set's model and batch, on noise, by the package's own loop with ``train.threads=-1`` and ``1`` in turn, by
the clock on the wall: alone, and beside one process a core that only counts. Printed are the least seconds of a
training, the median of the ratios of neighbours (above 1: taking idle cores is faster), and whether bits are the same.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from tabulate import tabulate
from torch import Tensor

from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.data.feed.batch import Batch
from avbench.methods.cavmae import CavMae
from avbench.methods.options import CavMaeConfig
from avbench.processes import own_cores
from avbench.recipes import presets
from avbench.rng import torch_stream
from avbench.settings import change
from avbench.training.loop import pretrain

PRESET = presets.load("soundshapes")


def batches(inputs: InputConfig, clips: int) -> list[Batch]:
    """Returns an epoch of noise."""
    draw = torch_stream(0, "bench")
    audio, visual = (clips, inputs.target_length, inputs.n_mels), (clips, 3, inputs.image_size, inputs.image_size)
    return [
        Batch(torch.arange(clips), torch.randn(audio, generator=draw), torch.randn(visual, generator=draw))
        for _ in range(4)
    ]


def train(threads: int, steps: int) -> tuple[float, dict[str, Tensor]]:
    """Returns the seconds of a training, and its weights."""
    recipe = {**PRESET["train"], "steps": steps, "threads": threads, "tensorboard": False}
    config = change(TrainConfig(), recipe, "train")
    inputs = change(InputConfig(), PRESET["input"], "input")
    method_config = change(CavMaeConfig(), PRESET["method"], "method")
    method = CavMae(method_config, change(ModelConfig(), PRESET["model"], "model"), inputs)
    epoch = batches(inputs, config.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        result = pretrain(
            method,
            lambda _, skip: iter(epoch[skip:]),
            config,
            device="cpu",
            steps_per_epoch=len(epoch),
            stage="bench",
            seed=0,
            precision="fp32",
            directory=Path(folder),
            clip_id=str,
            progress=False,
        )
        return time.monotonic() - begin, load_file(result.weights)


def _count() -> None:
    number = 0
    while True:
        number += 1


@contextlib.contextmanager
def beside(processes: int) -> Iterator[None]:
    """Within the context, so many processes keep a core busy each."""
    started = [multiprocessing.Process(target=_count, daemon=True) for _ in range(processes)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            process.kill()


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    train(1, 4)  # what is imported and compiled once is not counted
    rows = []
    for busy in (0, own_cores()):
        with beside(busy):
            pairs = [(train(-1, options.steps), train(1, options.steps)) for _ in range(options.repeats)]
        same = all(torch.equal(value, ours[1][key]) for ours, plain in pairs for key, value in plain[1].items())
        ratio = statistics.median(plain[0] / ours[0] for ours, plain in pairs)
        least = [min(pair[way][0] for pair in pairs) for way in (0, 1)]
        rows.append([f"beside {busy} busy processes", *least, ratio, "yes" if same else "NO"])
    header = ["", "-1: idle cores, s", "1: one thread, s", "ratio", "same bits"]
    print(tabulate(rows, header, floatfmt=".2f"))


if __name__ == "__main__":
    main()

"""What hashing adds to the commands that do it: ``python benchmarks/hashing.py [--repeats N] [--clips N]``.

Each part is the package's own function, timed as it is and with its hashes remembered instead of computed, in turn, by
the processor's time of all threads: the clock on the wall shows the disk and whoever else works here. Two sizes: a
checkpoint of CAV-MAE at base size with Adam's averages (2.3 GB), and vectors of 100,000 clips, 768 wide.

A part is not a command. So beside it is the least work that a command with this part does, measured here too: training
to the next checkpoint, a step, the ranks of all clips, a probe.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from tabulate import tabulate

from avbench.bench import step
from avbench.bench.retrieval import draw
from avbench.bench.timing import compare, one_thread
from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.files import write_json, write_sealed
from avbench.methods.cavmae import CavMae
from avbench.methods.options import CavMaeConfig
from avbench.metrics.retrieval import ranks
from avbench.store import extracted, seal
from avbench.training import session, state
from avbench.training.export import save_weights
from avbench.training.probe import ProbeRecipe, fit
from avbench.training.weights_file import read_checkpoint

WIDTH, CLASSES = 768, 10
RECIPE = ProbeRecipe(  # the task's defaults
    optimizer="lbfgs",
    sweep=(1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    iterations=100,
    epochs=20,
    batch_size=256,
    validation_fraction=0.2,
)


@contextlib.contextmanager
def remembered() -> Iterator[Callable[[Callable[[], Any]], Callable[[], Any]]]:
    """Yields what makes a function run with each file's hash as it first was."""
    whole, block = functools.cache(seal.sha256_file), functools.cache(seal._block)

    def without(work: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            with (
                patch.object(state, "sha256_file", whole),
                patch.object(seal, "sha256_file", whole),
                patch.object(seal, "_block", block),
            ):
                work()

        return run

    yield without


def spent(work: Callable[[], Any]) -> float:
    """Returns the processor's seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


class Rows:
    """What was measured: a part with its hashes and without, and the command that has it."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.rows: list[tuple[Any, ...]] = []

    def add(self, name: str, work: Callable[[], Any], command: str, rest: Callable[[float], float]) -> float:
        """Times a part; returns its seconds with hashes.

        Args:
            name: Of the part.
            work: The part.
            command: What a command does beside it.
            rest: Seconds of that, of the part's own.
        """
        with remembered() as without:
            timing = compare(name, work, without(work), target=0.0, repeats=self.repeats, clock=time.process_time)
        whole, plain = timing.ours_ms / 1e3, timing.plain_ms / 1e3
        other = rest(whole)
        self.rows.append((name, whole, plain, command, other, 100 * (whole - plain) / (plain + other)))
        print(tabulate(self.rows[-1:], tablefmt="plain", floatfmt=".2f"), flush=True)
        return whole


def checkpoint(rows: Rows, folder: Path) -> None:
    """Measures a training's checkpoint and the weights that a stage leaves, at base size."""
    method = CavMae(CavMaeConfig(), ModelConfig(), InputConfig())
    clips = step._batch(method)
    training = step.session_of(method, TrainConfig(batch_size=len(clips.index), lr=1e-6), "fp32", folder)
    optimizer, share = training.optimizer, session._CHECKPOINT_SHARE
    stepped = spent(lambda: training.step(clips, 0.0))
    optimizer.zero_grad(set_to_none=True)
    kept, reached = state.Checkpoints(folder, "benchmark", keep=1), state.TrainState("benchmark", step=1)
    until = "training until the next"
    saved = rows.add("checkpoint saved", lambda: kept.save(reached, method, optimizer), until, lambda s: s / share)
    rows.add("checkpoint read", lambda: kept.resume(method, optimizer), until, lambda _: saved / share)
    weights = folder / "weights.safetensors"
    save_weights(weights, method)
    rows.add("weights sealed", lambda: seal.seal(folder), "ten steps of four clips", lambda _: 10 * stepped)
    write_sealed(folder / seal.DONE, {"id": "benchmark", "key": {}, "wall_s": 1.0, seal.FILES: seal.seal(folder)})

    def read() -> None:
        seal._compared.clear()
        seal.check(folder)
        read_checkpoint(weights)

    with torch.inference_mode():
        embedded = spent(lambda: method.embed(*clips.inputs("cpu")))
    rows.add("weights opened", read, "vectors of 40 clips", lambda _: 10 * embedded)


def vectors(rows: Rows, folder: Path, clips: int) -> None:
    """Measures vectors of sounds, pictures and both of many clips, opened for retrieval and for a probe."""
    ids = [f"clip-{i:06d}" for i in range(clips)]
    target = np.arange(clips) % CLASSES
    centres = draw(CLASSES, 1, WIDTH)[0]
    fading = np.linspace(1, 0, WIDTH, dtype=np.float32) ** 2 + 0.01  # directions differ in strength, as a model's do
    for name, noise in zip(
        ("audio", "visual", "joint"), (*draw(clips, 1, WIDTH), *draw(clips, 1, WIDTH)), strict=False
    ):
        np.save(folder / f"{name}.npy", (noise + 0.05 * centres[target]) * fading)
    write_json(folder / extracted.IDS, ids)
    write_sealed(folder / seal.DONE, {"id": "benchmark", "key": {}, "wall_s": 1.0, seal.FILES: seal.seal(folder)})

    def opened() -> extracted.Pooled:
        seal._compared.clear()
        seal.check(folder)
        return extracted.pooled(folder, ids)

    found = opened()
    assert found.audio is not None
    assert found.visual is not None
    audio, visual = (extracted.unit_length(each[: clips // 10]) for each in (found.audio, found.visual))
    ranked = 100 * spent(lambda: ranks(audio, visual))  # the product grows with the square
    vector = np.array(found.audio[:, 0])
    probed = 3 * spent(lambda: fit(vector, target, CLASSES, RECIPE))
    rows.add("vectors opened", opened, "ranks of all clips (of a tenth, times 100)", lambda _: ranked)
    rows.add("vectors opened", opened, "probes of three streams (of one, times three)", lambda _: probed)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="What hashing adds to the commands that do it.")
    parser.add_argument("--repeats", type=int, default=3, help="calls of each part, with hashes and without")
    parser.add_argument("--clips", type=int, default=100_000, help="of the vectors")
    given = parser.parse_args()
    rows = Rows(given.repeats)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        for name, measure in (("checkpoint", checkpoint), ("vectors", functools.partial(vectors, clips=given.clips))):
            place = Path(folder) / name
            place.mkdir()
            measure(rows, place)
    heads = ("part", "s", "without", "beside it", "s", "hashing %")
    print(tabulate(rows.rows, headers=heads, floatfmt=".2f"))


if __name__ == "__main__":
    main()

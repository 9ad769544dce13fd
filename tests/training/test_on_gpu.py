"""What only a CUDA device can show: pytest -m gpu. Without one none of it runs; on a CPU other tests do the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from labelled_clips import INPUT, MODEL, LabelledClips
from ranks import Ranks, same_losses
from ranks import train as train_ranks
from safetensors.torch import load_file

from avbench import registry
from avbench.bench.methods import SEVEN, Options, benchmark
from avbench.config import TrainConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed.batch import Batch, arrays, moved
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.loader import Feed
from avbench.errors import RunError
from avbench.methods.base import Method
from avbench.processes import has_companions
from avbench.training.compiled import compile_blocks, frozen_blocks
from avbench.training.loop import TrainResult, pretrain
from avbench.training.precision import autocast

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none here"),
]
TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
CLIPS = cast(Clips, LabelledClips(24))


def method(name: str = "cavmae") -> Method:
    entry = registry.find("method", name).load()
    found: Method = entry.METHOD(entry.CONFIG(), MODEL, INPUT)
    return found


def train(folder: Path, device: str = "cuda", name: str = "cavmae", **changes: Any) -> TrainResult:
    values: dict[str, Any] = {"steps": 6, "batch_size": 8, "lr": 1e-3, "log_every": 3, "workers": 0, **changes}
    precision = values.pop("precision", "fp32")
    feed = Feed(CLIPS, INPUT, mode="train", noise=True, workers=0, device=device)

    def batches(epoch: int, skip: int) -> Iterator[Batch]:
        return feed.batches(np.arange(24), 8, epoch=epoch, skip=skip, drop_last=True)

    return pretrain(
        method(name),
        batches,
        TrainConfig(**values),
        steps_per_epoch=3,
        stage="0123456789abcdef",
        seed=5,
        precision=precision,
        device=device,
        directory=folder,
        clip_id=str,
        progress=False,
    )


def test_frames_are_normalised_to_the_bits_of_a_cpu() -> None:
    raw, plain = (AudioVisualDataset(CLIPS, INPUT, mode="eval", raw=raw).batch(range(6)) for raw in (True, False))
    (found,) = moved([raw], "cuda")
    assert found.visual.is_cuda
    assert not found.index.is_cuda
    assert torch.equal(found.visual.cpu(), plain.visual)
    assert torch.equal(found.audio.cpu(), plain.audio)


def test_batches_arrive_whole_however_fast_they_come() -> None:
    sent = [Batch(torch.tensor([i]), torch.full((1, 512, 512), float(i)), torch.full((1, 9), i)) for i in range(50)]
    for i, batch in enumerate(moved(iter(sent), "cuda")):
        assert torch.equal(batch.audio, torch.full_like(batch.audio, float(i)))


def test_results_are_read_in_order_and_none_is_lost() -> None:
    results = ((i, {"a": torch.full((4,), i, device="cuda", dtype=torch.bfloat16)}) for i in range(5))
    assert [(key, found["a"].tolist()) for key, found in arrays(results)] == [(i, [i] * 4) for i in range(5)]


@pytest.mark.parametrize("name", SEVEN)
def test_a_step_does_not_wait_for_the_gpu(name: str, tmp_path: Path) -> None:
    from avbench.bench.step import session_of

    model = method(name).to("cuda").train()
    (batch,) = moved([AudioVisualDataset(CLIPS, INPUT, mode="train", raw=True).batch(range(4))], "cuda")
    session = session_of(model, TrainConfig(batch_size=4, clip_norm=1.0, log_every=1000), "bf16", tmp_path, "cuda")
    session.step(batch, 0.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        session.step(batch, 0.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_seed_gives_the_same_bits_again(tmp_path: Path, precision: str) -> None:
    one, other = (train(tmp_path / name, precision=precision) for name in ("one", "other"))
    first, second = load_file(one.weights), load_file(other.weights)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_gpu_loses_as_a_cpu_does(tmp_path: Path) -> None:
    here, there = (train(tmp_path / device, device) for device in ("cpu", "cuda"))
    assert there.row["loss"] == pytest.approx(here.row["loss"], rel=1e-3)


def test_compiled_blocks_lose_as_others_do(tmp_path: Path) -> None:
    model = method().to("cuda")
    if not compile_blocks(model, "bf16", "cuda"):
        pytest.skip("torch cannot compile here; the log says why")
    plain, compiled = (train(tmp_path / str(on), precision="bf16", compiled=on) for on in (False, True))
    assert compiled.row["loss"] == pytest.approx(plain.row["loss"], rel=2e-2)


def test_frozen_blocks_extract_what_others_do() -> None:
    model = method().to("cuda").eval()
    (batch,) = moved([AudioVisualDataset(CLIPS, INPUT, mode="eval").batch(range(4))], "cuda")
    with torch.inference_mode(), autocast("bf16", "cuda"):
        plain = model.vectors(batch.audio, batch.visual)
        with frozen_blocks(model, "bf16", "cuda") as compiled:
            if not compiled:
                pytest.skip("torch cannot compile here; the log says why")
            found = model.vectors(batch.audio, batch.visual)
    for name, values in plain.items():
        torch.testing.assert_close(found[name], values, rtol=2e-2, atol=2e-2)


def test_the_pass_that_fits_is_named(tmp_path: Path) -> None:
    class Greedy(type(method())):  # type: ignore[misc]
        """Takes all memory for a pass of more than four clips."""

        def forward(self, audio: Any, visual: Any, noise: Any) -> Any:
            if len(audio) > 4:
                torch.empty(2**44, device="cuda")
            return super().forward(audio, visual, noise)

    entry = method()
    model = Greedy(entry.config, MODEL, INPUT)
    feed = Feed(CLIPS, INPUT, mode="train", workers=0, device="cuda")
    with pytest.raises(RunError, match=r"out of memory in step 1.*4 fit: --set train\.accumulate=2"):
        pretrain(
            model,
            lambda epoch, skip: feed.batches(np.arange(24), 8, epoch=epoch, skip=skip, drop_last=True),
            TrainConfig(steps=2, batch_size=8, workers=0),
            steps_per_epoch=3,
            stage="0123456789abcdef",
            seed=5,
            precision="fp32",
            device="cuda",
            directory=tmp_path,
            clip_id=str,
            progress=False,
        )


@TWO_GPUS
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_gpus_lose_as_one_does(clips_cache: Path, tmp_path: Path, parallel: str) -> None:
    settings = ["method.negatives=gathered", "train.steps=5", "train.accumulate=2"]
    options = ["--device", "cuda", "--precision", "fp32", "--parallel", parallel]
    for world in (1, 2):
        train_ranks(clips_cache, tmp_path / str(world), ("cavmae",), settings, world, options)
    same_losses(tmp_path / "1", tmp_path / "2", 1)


@TWO_GPUS
def test_readers_of_two_gpus_start_beside_nccl(clips_cache: Path, tmp_path: Path) -> None:
    settings = ["method.negatives=gathered", "train.steps=5", "train.workers=2"]
    found = Ranks(clips_cache, tmp_path, ("cavmae",), settings, 2, ["--device", "cuda"]).wait()
    assert [status for status, *_ in found] == [0, 0], found
    assert not has_companions()


def test_the_benchmark_fills_every_column() -> None:
    report = benchmark(Options(methods=("cavmae",), size="tiny", batch=4, steps=2, device="cuda"))
    (row,) = report.rows
    assert row.spent["products"] > 0
    assert "idle" in row.spent
    assert row.fed_clips_per_s > 0
    assert row.peak_bytes > 16 * row.parameters

"""Throughput of every method: clips a second, model FLOPs utilisation, wait for the loader, memory, what takes time.

Each method runs in a process of its own. Steps of pretraining are the training loop's: draw the masks, forward,
backward, optimiser; first on noise of the input's sizes, without reading clips, then on clips that the loader reads.
Utilisation is the model FLOPs a second (:mod:`avbench.bench.flops`) over the best
rate of a large matrix product of the same precision, measured in the same run, and over the GPU's data sheet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from avbench import registry
from avbench.bench.fed import feed
from avbench.bench.flops import step_flops
from avbench.bench.kinds import shares
from avbench.bench.machine import Clock, matmul_flops, memory_bytes, peak_memory_bytes
from avbench.bench.step import session_of
from avbench.bench.throughput import Report, Throughput, table
from avbench.config import InputConfig, ModelConfig, Precision, TrainConfig
from avbench.data.feed.batch import Batch
from avbench.errors import InputError, RunError, unknown
from avbench.methods.base import Method
from avbench.recipes import presets
from avbench.rng import torch_stream
from avbench.settings import change
from avbench.store.provenance import hardware, versions
from avbench.training.compiled import compile_blocks, frozen_blocks
from avbench.training.device import resolve_device
from avbench.training.fitting import is_out_of_memory
from avbench.training.precision import autocast, float32_products, reproducible, resolve_precision
from avbench.training.session import Session

__all__ = ["SEVEN", "Options", "Report", "Throughput", "benchmark", "measure", "table"]

SEVEN = ("audiomae", "visualmae", "vanilla_avmae", "avmae", "cav", "cavmae", "cavmae_sync")
_BATCH = {"cpu": 4, "cuda": 64}
_WARM_UP = {"cpu": 1, "cuda": 3}  # steps that are not counted: Adam makes its averages, a GPU picks its kernels
_SYNC = "sync"  # the preset with the inputs of the methods it names

Size = Literal["base", "small", "tiny"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how."""

    methods: tuple[str, ...] = SEVEN
    """Methods, one process after the other."""
    size: Size = "base"
    """Preset of the model's sizes; inputs are the paper's, for cavmae_sync those of preset sync."""
    batch: int = 0
    """Clips a step; 0: 4 on a CPU, 64 on a GPU."""
    steps: int = 5
    """Steps that are timed, after one (on a GPU three) that is not; the median counts."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: the GPU if there is one."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto: bf16 (or fp16) on a GPU, fp32 on a CPU."""
    threads: int = 0
    """Threads that compute on a CPU; 0: as many as torch takes."""
    deterministic: bool = True
    """On a GPU: reproducible kernels, as training uses them by default."""
    compiled: bool = False
    """Compile the transformer blocks."""

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InputError: One that is not valid.
        """
        if not self.methods:
            raise InputError("--methods: found nothing, valid: one or more methods.")
        for name in self.methods:
            if name not in SEVEN:
                raise unknown("method", name, SEVEN)
        if self.size not in get_args(Size):
            raise unknown("size", self.size, get_args(Size))
        if self.batch == 1:
            raise InputError("--batch: found 1, valid: at least 2, which are contrasted with each other, or 0.")
        for option, value, least in (("batch", self.batch, 0), ("steps", self.steps, 1), ("threads", self.threads, 0)):
            if value < least:
                raise InputError(f"--{option}: found {value}, valid: at least {least}.")


def benchmark(options: Options | None = None) -> Report:
    """Measures every method in a fresh process.

    Raises:
        InputError: A device or precision this machine does not have.
        RunError: A method's process ran out of memory.
    """
    options = options or Options()
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    options = dataclasses.replace(options, device=device, precision=precision, batch=options.batch or _BATCH[device])
    before = os.getloadavg()[0]
    rows = [_in_fresh_process(name, options) for name in options.methods]
    return Report(
        rows=rows,
        size=options.size,
        kernels=("reproducible kernels, " if options.deterministic else "any kernels, ") * (device == "cuda")
        + ("compiled blocks" if options.compiled else "blocks as they are"),
        precision=precision,
        machine=hardware(device),
        versions=versions(),
        load_before=before,
        load_after=os.getloadavg()[0],
    )


def _in_fresh_process(name: str, options: Options) -> Throughput:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            return pool.submit(measure, name, options).result()
        except BrokenProcessPool:
            raise RunError(
                f"{name}: its process was killed, most likely for memory, with {options.batch} clips per step; try a"
                " smaller --batch."
            ) from None


def measure(name: str, options: Options) -> Throughput:
    """Measures one method in this process, whose memory must not have been higher before.

    Args:
        name: The method.
        options: With a batch, a device and a precision that are not ``auto``.

    Raises:
        RunError: The GPU's memory does not suffice.
    """
    device, precision = resolve_device(options.device), resolve_precision(options.precision, options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    with float32_products(precision, device), reproducible(device, wanted=options.deterministic):
        return _measured(name, options, device, precision)


def _measured(name: str, options: Options, device: str, precision: Precision) -> Throughput:
    held, batch = memory_bytes(), options.batch
    method = _build(name, options.size).to(device).train()
    if options.compiled:
        compile_blocks(method, precision, device)
    noise = _noise(method, batch).to(device)
    with tempfile.TemporaryDirectory() as folder:
        # No row is written, so that a GPU is not waited for.
        session = session_of(method, TrainConfig(batch_size=batch, log_every=10**6), precision, Path(folder), device)
        try:
            seconds, cores = _time_steps(session, noise, options.steps)
            peak = torch.cuda.max_memory_allocated() if device == "cuda" else peak_memory_bytes() - held
            spent = shares(lambda: session.step(noise, 0.0), device)
            fed = feed(session, method.input_config, options.steps, warm_up=_WARM_UP[device], threads=options.threads)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"{name}: the memory does not hold a step of {batch} clips; try a smaller --batch."
            ) from None
    method.eval()
    with frozen_blocks(method, precision, device) if options.compiled else contextlib.nullcontext():
        features_s = _time_features(method, noise, options.steps, precision, device)
    flops = step_flops(method, batch)
    return Throughput(
        method=name,
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        batch=batch,
        forward_flops=flops.forward,
        step_flops=flops.step,
        step_s=statistics.median(seconds),
        fastest_s=min(seconds),
        slowest_s=max(seconds),
        cores=cores,
        peak_bytes=peak,
        matmul_flops=matmul_flops(device, precision),  # last: its matrices are not the method's memory
        threads=torch.get_num_threads(),
        features_s=features_s,
        fed_clips_per_s=fed.clips_per_s,
        wait_share=fed.wait_share,
        readers=fed.readers,
        spent=spent,
    )


def _build(name: str, size: Size) -> Method:
    module = registry.find("method", name).load()
    sync = presets.load(_SYNC)
    inputs = change(InputConfig(), sync["input"] if name in sync[presets.METHODS] else {}, "input")
    method: Method = module.METHOD(module.CONFIG(), change(ModelConfig(), presets.load(size)["model"], "model"), inputs)
    return method


def _noise(method: Method, clips: int) -> Batch:
    """Returns noise of the model's input sizes; the time does not depend on the content."""
    inputs, draw = method.input_config, torch_stream(0, "bench")
    audio = torch.randn(clips, inputs.segment_length or inputs.target_length, inputs.n_mels, generator=draw)
    visual = torch.randn(clips, len(inputs.image_mean), inputs.image_size, inputs.image_size, generator=draw)
    return Batch(torch.arange(clips), audio, visual)


def _time_steps(session: Session, batch: Batch, steps: int) -> tuple[list[float], float]:
    """Returns the seconds of each step, and the CPU seconds a second meanwhile."""
    for _ in range(_WARM_UP[session.device]):
        session.step(batch, 0.0)
    clock = Clock(session.device)
    clock.mark()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        session.step(batch, 0.0)
        clock.mark()
    seconds = clock.seconds()
    return seconds, (time.process_time() - cpu) / (time.perf_counter() - wall)


def _time_features(method: Method, batch: Batch, steps: int, precision: Precision, device: str) -> float:
    """Returns the seconds of the median extraction of a batch."""
    clock = Clock(device)
    for _ in range(_WARM_UP[device]):
        with torch.inference_mode(), autocast(precision, device):
            method.vectors(batch.audio, batch.visual)
    clock.mark()
    for _ in range(steps):
        with torch.inference_mode(), autocast(precision, device):
            method.vectors(batch.audio, batch.visual)
        clock.mark()
    return statistics.median(clock.seconds())

"""Throughput of pretraining for every method: clips a second, model FLOPs utilisation, peak memory.

Each method runs in a process of its own: draw the masks, forward, backward, optimiser, on noise of the input's sizes;
reading clips is not part of it. Utilisation is the model FLOPs a second (:mod:`avbench.bench.flops`) over the best
rate of a large matrix product of the same precision, measured in the same run, and over the GPU's data sheet.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from avbench import registry
from avbench.bench.flops import step_flops
from avbench.bench.machine import Clock, data_sheet_flops, matmul_flops, memory_bytes, peak_memory_bytes
from avbench.config import InputConfig, ModelConfig, Precision, TrainConfig
from avbench.errors import InputError, RunError, unknown
from avbench.methods.base import Method
from avbench.recipes import presets
from avbench.rng import torch_stream
from avbench.settings import change
from avbench.store.provenance import hardware, versions
from avbench.training.device import resolve_device
from avbench.training.optimizer import build_optimizer
from avbench.training.precision import autocast, gradient_scaler, resolve_precision

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
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto: bf16 (or fp16) on a GPU, fp32 on a CPU."""
    threads: int = 0
    """Threads that compute on a CPU; 0: as many as torch takes."""

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
        for option, value, least in (("batch", self.batch, 0), ("steps", self.steps, 1), ("threads", self.threads, 0)):
            if value < least:
                raise InputError(f"--{option}: found {value}, valid: at least {least}.")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One method's figures."""

    method: str
    parameters: int
    batch: int
    forward_flops: float  # of one clip
    step_flops: float  # of one clip, forward and backward
    step_s: float  # median
    fastest_s: float
    slowest_s: float
    cores: float  # CPU seconds a second during the steps; below the threads where other work took its share
    peak_bytes: int  # growth of the process's memory, or the most allocated on the GPU
    matmul_flops: float  # a second: the best product measured in this process
    threads: int

    @property
    def clips_per_s(self) -> float:
        """Clips a second."""
        return self.batch / self.step_s

    @property
    def flops_per_s(self) -> float:
        """Model FLOPs a second."""
        return self.step_flops * self.clips_per_s


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of a run, and what they were measured on."""

    rows: list[Measured]
    size: Size
    precision: Precision
    machine: dict[str, Any]
    versions: dict[str, str]
    load_before: float  # 1-minute load average
    load_after: float

    @property
    def matmul_flops(self) -> float:
        """The machine's peak, FLOP/s: the best product of all processes, since other work only ever slows them."""
        return max(row.matmul_flops for row in self.rows)

    @property
    def data_sheet_flops(self) -> float | None:
        """The GPU's peak by its data sheet, FLOP/s; None for a CPU or an unknown GPU."""
        return data_sheet_flops(self.machine.get("gpu", ""), self.precision)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values: FLOP, seconds, bytes, and utilisation as a fraction."""
        sheet = self.data_sheet_flops
        rows = [
            {
                **dataclasses.asdict(row),
                "clips_per_s": row.clips_per_s,
                "flops_per_s": row.flops_per_s,
                "mfu": row.flops_per_s / self.matmul_flops,
                "mfu_data_sheet": row.flops_per_s / sheet if sheet else None,
            }
            for row in self.rows
        ]
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "rows"}
        return {**plain, "matmul_flops": self.matmul_flops, "data_sheet_flops": sheet, "rows": rows}


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
        precision=precision,
        machine=hardware(device),
        versions=versions(),
        load_before=before,
        load_after=os.getloadavg()[0],
    )


def _in_fresh_process(name: str, options: Options) -> Measured:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            return pool.submit(measure, name, options).result()
        except BrokenProcessPool:
            raise RunError(
                f"{name}: its process was killed, most likely for memory, with {options.batch} clips per step; try a"
                " smaller --batch."
            ) from None


def measure(name: str, options: Options) -> Measured:
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
    held = memory_bytes()
    method = _build(name, options.size).to(device).train()
    try:
        seconds, cores = _time_steps(method, options.batch, options.steps, precision, device)
    except torch.OutOfMemoryError:
        raise RunError(
            f"{name}: the GPU's memory does not hold a step of {options.batch} clips; try a smaller --batch."
        ) from None
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else peak_memory_bytes() - held
    flops = step_flops(method, options.batch)
    return Measured(
        method=name,
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        batch=options.batch,
        forward_flops=flops.forward,
        step_flops=flops.step,
        step_s=statistics.median(seconds),
        fastest_s=min(seconds),
        slowest_s=max(seconds),
        cores=cores,
        peak_bytes=peak,
        matmul_flops=matmul_flops(device, precision),  # last: its matrices are not the method's memory
        threads=torch.get_num_threads(),
    )


def _build(name: str, size: Size) -> Method:
    module = registry.find("method", name).load()
    sync = presets.load(_SYNC)
    inputs = change(InputConfig(), sync["input"] if name in sync[presets.METHODS] else {}, "input")
    method: Method = module.METHOD(module.CONFIG(), change(ModelConfig(), presets.load(size)["model"], "model"), inputs)
    return method


def _noise(method: Method, clips: int, device: str) -> tuple[Tensor, Tensor]:
    """Returns sounds (B, T, M) and frames (B, 3, H, W) of noise; the time does not depend on the content."""
    inputs, draw = method.input_config, torch_stream(0, "bench")
    audio = torch.randn(clips, inputs.segment_length or inputs.target_length, inputs.n_mels, generator=draw)
    visual = torch.randn(clips, len(inputs.image_mean), inputs.image_size, inputs.image_size, generator=draw)
    return audio.to(device), visual.to(device)


def _time_steps(method: Method, clips: int, steps: int, precision: Precision, device: str) -> tuple[list[float], float]:
    """Returns the seconds of each step, and the CPU seconds a second meanwhile."""
    audio, visual = _noise(method, clips, device)
    optimizer = build_optimizer(method, TrainConfig(), device)
    scaler = gradient_scaler(precision, device)

    def step(number: int) -> None:
        noise = method.draw_noise(clips, torch_stream(0, "mask", number)).to(device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(precision, device):
            loss = method(audio, visual, noise).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    warm_up = _WARM_UP[device]
    for number in range(warm_up):
        step(number)
    clock = Clock(device)
    clock.mark()
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(warm_up, warm_up + steps):
        step(number)
        clock.mark()
    seconds = clock.seconds()
    return seconds, (time.process_time() - cpu) / (time.perf_counter() - wall)


def table(report: Report) -> str:
    """Returns the figures as a Markdown table below a line that says what they were measured on."""
    from tabulate import tabulate

    first, sheet = report.rows[0], report.data_sheet_flops
    headers = ["method", "clips/s", "step s", "GFLOP/clip", "GFLOP/s", "MFU %", "peak GB", "cores"]
    cells: list[list[Any]] = []
    for row in report.rows:
        line = [
            row.method,
            f"{row.clips_per_s:.3g}",
            f"{row.step_s:.3g}",
            f"{row.step_flops / 1e9:.1f}",
            f"{row.flops_per_s / 1e9:.0f}",
            f"{100 * row.flops_per_s / report.matmul_flops:.0f}",
            f"{row.peak_bytes / 1e9:.1f}",
            f"{row.cores:.1f}",
        ]
        if sheet:
            line.insert(headers.index("MFU %") + 1, f"{100 * row.flops_per_s / sheet:.0f}")
        cells.append(line)
    if sheet:
        headers.insert(headers.index("MFU %") + 1, "of data sheet %")
    name = report.machine.get("gpu") or f"{report.machine['processor']}, {first.threads} threads"
    promised = f" ({sheet / 1e9:.0f} by the data sheet)" if sheet else ""
    head = (
        f"{report.size} size, {first.batch} clips per step, {report.precision}, {name}; best matrix product"
        f" {report.matmul_flops / 1e9:.0f} GFLOP/s{promised}; load average {report.load_before:.1f} before,"
        f" {report.load_after:.1f} after"
    )
    right = ("left", *["right"] * (len(headers) - 1))
    return f"{head}\n\n{tabulate(cells, headers=headers, tablefmt='github', colalign=right, disable_numparse=True)}"

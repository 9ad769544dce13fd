"""Prints what each process of a training holds: ``python benchmarks/sharding.py [PRESET]``; a minute, 12 GB of memory.

Two steps of CAV-MAE with one process, and with two that each hold the model (ddp) or a part of it (fsdp); on the CPU,
by gloo. Parameters, gradients and averages are counted after the steps; the peak is the largest resident set of the
process beyond what it was before the model was built, which each process does as a whole before it is divided.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = (("one", 1, "ddp"), ("two, ddp", 2, "ddp"), ("two, fsdp", 2, "fsdp"))
CLIPS = 2  # of a step, in all processes together
MIB = 2**20


def measure(preset: str, parallel: str) -> str:
    """Makes two steps in this process and those beside it; returns MiB: parameters, gradients, averages, peak."""
    import torch

    from avbench.methods.objectives import PretrainOutput
    from avbench.rng import torch_stream
    from avbench.running.request import Request, resolve
    from avbench.running.weights import build
    from avbench.training.group import join
    from avbench.training.optimizer import build_optimizer, optimizer_tensors

    config = resolve(Request(method="cavmae", presets=(preset,)))
    sizes = config.input
    torch.set_num_threads(1)
    with join("cpu", parallel) as group:  # type: ignore[arg-type]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model = build(config)
        wrapped = group.wrap(model.train(), "cpu")
        optimizer = build_optimizer(model, config.train, "cpu")
        n = CLIPS // group.world
        generator = torch_stream(0, "benchmark")
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            audio = torch.randn(n, sizes.target_length, sizes.n_mels, generator=generator)
            visual = torch.randn(n, 3, sizes.image_size, sizes.image_size, generator=generator)
            output: PretrainOutput = wrapped(audio, visual, model.draw_noise(n, generator))
            output.loss.backward()
            optimizer.step()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        parameters = list(model.parameters())
        held = (
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            list(optimizer_tensors(model, optimizer).values()),
        )
        mib = [sum(group.local(tensor).nbytes for tensor in tensors) / MIB for tensors in held]
        return " ".join(f"{value:.0f}" for value in [*mib, peak / 1024])


def table(preset: str) -> str:
    """Returns the table; one row for each process."""
    from tabulate import tabulate

    rows = []
    for name, world, parallel in CASES:
        with tempfile.TemporaryDirectory() as folder:
            together = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
            processes = []
            for rank in range(world):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
                own["MALLOC_MMAP_THRESHOLD_"] = str(2**16)  # what is freed goes back at once, and is not counted
                words = [sys.executable, __file__, preset, parallel]
                with Path(folder, str(rank)).open("w") as out:
                    processes.append(subprocess.Popen(words, env={**os.environ, **together, **own}, stdout=out))
            statuses = [process.wait() for process in processes]
            if any(statuses):
                raise SystemExit(f"{name}: failed")
            for rank in range(world):
                values = [int(value) for value in Path(folder, str(rank)).read_text().split()]
                rows.append((name, rank, *values[:3], sum(values[:3]), values[3]))
    headers = ("processes", "rank", "parameters", "gradients", "averages", "together MiB", "peak MiB")
    return tabulate(rows, headers=headers)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(measure(sys.argv[1], sys.argv[2]))
    else:
        print(table(sys.argv[1] if len(sys.argv) > 1 else "base"))

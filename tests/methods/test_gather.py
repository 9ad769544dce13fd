"""Gathered negatives: two processes compute what one would on both their batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from avbench.config import InputConfig, ModelConfig
from avbench.methods.cav import Cav, CavConfig
from avbench.methods.masking import MaskNoise

CLIPS, PROCESSES = 6, 2


def make(negatives: str) -> tuple[Cav, torch.Tensor, torch.Tensor, MaskNoise]:
    input = InputConfig(target_length=32, n_mels=16, image_size=32)
    model = ModelConfig(embed_dim=16, num_heads=2, modality_depth=1, patch_size=8)
    method = Cav(CavConfig(negatives=negatives), model, input, seed=1)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(2)
    audio = torch.randn(CLIPS, 32, 16, generator=generator)
    visual = torch.randn(CLIPS, 3, 32, 32, generator=generator)
    return method, audio, visual, method.draw_noise(CLIPS, generator)


def loss_and_gradient(method: Cav, rows: slice, *batch: torch.Tensor, noise: MaskNoise) -> tuple[float, torch.Tensor]:
    audio, visual = (part[rows] for part in batch)
    loss = method(audio, visual, noise.part(rows)).loss
    loss.backward()
    gradients = [p.grad.flatten() for p in method.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


def of_one_process(folder: Path, rank: int) -> None:
    """What each process does: its share of the clips, and the mean of the gradients, as distributed training has it."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=PROCESSES
    )
    for negatives in ("gathered", "local"):
        method, audio, visual, noise = make(negatives)
        share = CLIPS // PROCESSES
        rows = slice(rank * share, (rank + 1) * share)
        loss, gradient = loss_and_gradient(method, rows, audio, visual, noise=noise)
        torch.distributed.all_reduce(gradient)
        torch.save({"loss": loss, "gradient": gradient / PROCESSES}, folder / f"{negatives}-{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one_with_both_batches(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, __file__, str(tmp_path), str(rank)], env=environment)
        for rank in range(PROCESSES)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    method, audio, visual, noise = make("gathered")
    loss, gradient = loss_and_gradient(method, slice(None), audio, visual, noise=noise)
    for rank in range(PROCESSES):
        found = torch.load(tmp_path / f"gathered-{rank}.pt")
        assert abs(found["loss"] - loss) <= 1e-5 * loss
        assert (found["gradient"] - gradient).norm() <= 1e-5 * gradient.norm()
        local = torch.load(tmp_path / f"local-{rank}.pt")
        assert abs(local["loss"] - loss) > 0.01 * loss


if __name__ == "__main__":
    of_one_process(Path(sys.argv[1]), int(sys.argv[2]))

"""Where memory runs out, training says which pass there is memory for; and a step waits for no value of the device."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_method as tiny
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from avbench.bench.step import _batch, session_of
from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.errors import RunError
from avbench.methods.cav import Cav
from avbench.methods.cavmae import CavMae
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.methods.options import CavConfig, CavMaeConfig
from avbench.training import fitting
from avbench.training.group import ProcessGroup
from avbench.training.share import Share
from avbench.training.state import TrainState

MORE_THAN_ANY_MACHINE_HAS = 2**46  # float32 values


class Large(tiny.TinyMethod):
    """Needs more memory than there is for a pass of more clips than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        if len(audio) > self.most:
            torch.empty(MORE_THAN_ANY_MACHINE_HAS)
        return super().forward(audio, visual, noise)


@pytest.mark.parametrize(
    ("most", "accumulate", "said"),
    [
        (5, 1, "of 8 clips a pass .*4 fit: --set train.accumulate=2 keeps the batch"),
        (2, 2, "of 4 clips a pass .*2 fit: --set train.accumulate=4"),
        (1, 1, ".*nor is there room for two; a smaller model or --precision bf16"),
    ],
)
def test_the_pass_that_fits_is_named(tmp_path: Path, most: int, accumulate: int, said: str) -> None:
    with pytest.raises(RunError, match=f"^out of memory in step 1, {said}") as caught:
        tiny.train(tmp_path, tiny.config(accumulate=accumulate), method=Large(most))
    assert "\n" not in str(caught.value)
    if most > 1:  # and it does fit
        tiny.train(tmp_path, tiny.config(accumulate=8 // most if 8 % most == 0 else 2, steps=2), method=Large(most))


def test_of_fine_tuning_the_batch_that_fits_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"4 fit: --set task\.batch_size=4"):
        tiny.train(tmp_path, method=Large(5), section="task")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_runs_out_in_many_words(error: Exception) -> None:
    assert fitting.is_out_of_memory(error)
    assert not fitting.is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not fitting.is_out_of_memory(ValueError("can't allocate memory"))


def test_what_fits_has_room_for_the_averages_that_the_first_step_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(like: Tensor, **_: Any) -> Tensor:
        raise torch.OutOfMemoryError(f"no room for {like.numel()} more")

    monkeypatch.setattr(torch, "empty_like", full)
    with pytest.raises(RunError, match="nor is there room for two"):
        tiny.train(tmp_path, method=Large(5))


def test_what_needs_no_gradient_is_computed_in_the_parts_that_fit(caplog: pytest.LogCaptureFixture) -> None:
    computed: list[int] = []

    def compute(audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        if len(audio) > 2:
            torch.empty(MORE_THAN_ANY_MACHINE_HAS)
        computed.append(len(audio))
        return {"both": audio + visual, "sound": audio * 2}

    audio, visual = torch.arange(7.0), torch.arange(7.0) * 10
    found = fitting.in_parts(compute, audio, visual)
    assert computed == [1, 2, 2, 2]
    assert torch.equal(found["both"], audio + visual)
    assert torch.equal(found["sound"], audio * 2)
    assert "out of memory in computing 7 clips together" in caplog.messages[0]
    with pytest.raises(RunError, match=r"^out of memory in computing one clip"):
        fitting.in_parts(lambda a, v: {"a": torch.empty(MORE_THAN_ANY_MACHINE_HAS)}, audio, visual)
    with pytest.raises(ZeroDivisionError):
        fitting.in_parts(lambda a, v: {"a": a / (1 // 0)}, audio, visual)


def test_of_several_processes_one_says_what_it_had_no_memory_for() -> None:
    def step(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nSee the documentation.")

    share = Share(48, 4, together=False, group=ProcessGroup(1, 2))
    session: Any = SimpleNamespace(step=step, share=share, device="cuda", section="train", state=TrainState("x"))
    said = r"out of memory in step 1, of 6 clips a pass in each of 2 processes \(CUDA out of memory\.\)"
    with pytest.raises(RunError, match=said):
        fitting.step(session, tiny.clips(torch.arange(24)), 0.0)


def test_a_kernel_that_is_not_reproducible_is_named_with_the_way_out() -> None:
    def step(*_: Any) -> None:
        raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set ...")

    session: Any = SimpleNamespace(step=step, device="cuda")
    with pytest.raises(RunError, match=r"cumsum_cuda_kernel.*--set train\.deterministic=false"):
        fitting.step(session, tiny.clips(torch.arange(8)), 0.0)


class _Reads(TorchDispatchMode):
    """Counts what on a GPU would wait for its results."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"):
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("cls", [(CavMae, CavMaeConfig), (Cav, CavConfig)])
def test_a_step_reads_no_value_before_a_row_is_due(tmp_path: Path, cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"embed_dim": 16, "num_heads": 2, "modality_depth": 1}
    model = ModelConfig(**sizes, decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2)
    method = cls[0](cls[1](), model, InputConfig(n_mels=32, target_length=48, image_size=32))
    config = TrainConfig(batch_size=4, clip_norm=1.0, log_every=1000)
    session = session_of(method, config, "fp32", tmp_path)
    batch = _batch(method)
    # On a CPU each step's values are read, as that costs nothing.
    monkeypatch.setattr(session, "_collect", lambda: None)
    session.step(batch, 0.0)
    with _Reads() as reads:
        session.step(batch, 0.0)
    assert reads.found == []

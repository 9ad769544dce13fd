"""Devices, precisions and threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from avbench.errors import InputError
from avbench.training.device import resolve_device, torch_threads
from avbench.training.precision import (
    autocast,
    float32_products,
    gradient_scaler,
    reproducible,
    resolve_precision,
)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(InputError, match="--device cuda: found no GPU"):
        resolve_device("cuda")
    with pytest.raises(InputError, match="Did you mean 'cuda'"):
        resolve_device("cud")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"


def test_torch_is_asked_for_a_gpu_only_where_a_driver_is() -> None:
    code = (
        "import sys; from avbench.training import device; {}device.resolve_device('{}');"
        " print('torch' in sys.modules, device._has_driver())"
    )
    for before, name in (("", "auto"), ("device._has_driver = lambda: True; ", "auto"), ("", "cpu")):
        ran = subprocess.run([sys.executable, "-c", code.format(before, name)], capture_output=True, check=True)
        imported, driver = ran.stdout.decode().split()
        assert imported == (driver if name == "auto" else "False")


@pytest.mark.parametrize(("has_bf16", "auto"), [(True, "bf16"), (False, "fp16")])
def test_precisions(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, auto: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("auto", "cuda") == auto
    assert resolve_precision("bf16", "cpu") == "bf16"
    for name, device in (("fp16", "cpu"), ("fp8", "cuda")):
        with pytest.raises(InputError):
            resolve_precision(name, device)


def test_autocast_shortens_products_only() -> None:
    layer = torch.nn.Linear(4, 4)
    with autocast("bf16", "cpu"):
        assert layer(torch.zeros(1, 4)).dtype == torch.bfloat16
    with autocast("fp32", "cpu"):
        assert layer(torch.zeros(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
    assert not gradient_scaler("bf16", "cpu").is_enabled()
    assert gradient_scaler("fp16", "cpu").is_enabled()


def test_threads_and_workers_share_the_cores() -> None:
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0))
    with torch_threads(0) as threads:
        assert threads == torch.get_num_threads() <= cores
    with torch_threads(max(cores - 1, 1)):
        assert torch.get_num_threads() == 1
    with torch_threads(10 * cores):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def flags() -> tuple[object, ...]:
    return (
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
        torch.are_deterministic_algorithms_enabled(),
        getattr(torch.utils.deterministic, "fill_uninitialized_memory"),  # noqa: B009 - it is hidden from mypy
    )


def test_a_gpu_multiplies_float32_as_asked_inside_the_block_only() -> None:
    before = flags()
    for precision, value in (("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")):
        with float32_products(precision, "cuda"):  # type: ignore[arg-type]
            assert flags()[:2] == (value, value)
        assert flags() == before
    with float32_products("tf32", "cpu"):
        assert flags() == before


def test_a_gpu_uses_reproducible_kernels_inside_the_block_only() -> None:
    before = flags()
    with reproducible("cuda", wanted=True):
        assert flags()[2:] == (True, False)
    for device, wanted in (("cuda", False), ("cpu", True)):
        with reproducible(device, wanted=wanted):
            assert flags() == before
    with pytest.raises(RuntimeError, match="out of the block"), reproducible("cuda", wanted=True):
        raise RuntimeError("out of the block")
    assert flags() == before


def test_tf32_is_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="found tf32 on a CPU, valid there: auto, fp32, bf16"):
        resolve_precision("tf32", "cpu")
    monkeypatch.setattr("torch.cuda.is_tf32_supported", lambda: False)
    with pytest.raises(InputError, match="found tf32, which this GPU does not have; valid: auto, fp32, fp16"):
        resolve_precision("tf32", "cuda")
    monkeypatch.setattr("torch.cuda.is_tf32_supported", lambda: True)
    assert resolve_precision("tf32", "cuda") == "tf32"

"""Devices, precisions and threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from avbench.errors import InputError
from avbench.training.device import resolve_device, torch_threads
from avbench.training.precision import autocast, gradient_scaler, resolve_precision


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

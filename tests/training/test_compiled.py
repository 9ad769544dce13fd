"""Compiled blocks compute what others do, and where there is no compiler they run as they are."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tiny_method as tiny
import torch
import torch._dynamo
import torch._inductor.config as inductor
from torch import nn

from avbench.errors import InputError
from avbench.methods.vit import Block
from avbench.training.compiled import compile_blocks
from avbench.training.group import ProcessGroup
from avbench.training.loop import train
from avbench.training.objective import PretrainingLoss
from avbench.training.share import Share


def blocks() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(8, 2, 2.0), Block(8, 2, 2.0))


def passed(model: nn.Module) -> list[torch.Tensor]:
    x = torch.linspace(-1, 1, 3 * 5 * 8).view(3, 5, 8)
    out = model(x)
    out.square().sum().backward()
    return [out.detach(), *(each.grad for each in model.parameters() if each.grad is not None)]


@pytest.mark.slow
def test_compiled_blocks_give_the_same_results_and_gradients() -> None:
    plain, compiled = blocks(), blocks()
    assert compile_blocks(compiled, "fp32", "cpu")
    assert all(each.grad is None for each in compiled.parameters())
    for ours, theirs in zip(passed(compiled), passed(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_without_a_compiler_they_run_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch._dynamo.reset()  # what was compiled before would serve again
    monkeypatch.setattr(inductor.cpp, "cxx", ("/nowhere/g++",))
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    model = blocks()
    with caplog.at_level(logging.WARNING, "avbench"):
        assert not compile_blocks(model, "fp32", "cpu")
    assert "the blocks cannot be compiled here and run as they are" in caplog.text
    assert "\n" not in caplog.messages[0]
    for ours, theirs in zip(passed(model), passed(blocks()), strict=True):
        assert torch.equal(ours, theirs)


def test_a_divided_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    method, settings = tiny.TinyMethod(), tiny.config(compiled=True)
    with pytest.raises(InputError, match=r"train\.compiled: found true, valid with --parallel fsdp: false"):
        train(
            method,
            PretrainingLoss(method),
            tiny.batches,
            settings,
            steps_per_epoch=tiny.PER_EPOCH,
            stage=tiny.STAGE,
            seed=0,
            precision="fp32",
            device="cpu",
            directory=tmp_path,
            clip_id=str,
            share=Share(tiny.BATCH, 1, together=False, group=ProcessGroup(0, 2, "fsdp")),
        )
    assert not list(tmp_path.iterdir())


def test_a_model_without_blocks_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "avbench"):
        assert not compile_blocks(tiny.TinyMethod(), "fp32", "cpu")
    assert "tiny has no transformer block of this package" in caplog.text

"""Compiled blocks compute what others do, and where there is no compiler they run as they are."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_method as tiny
import torch
import torch._dynamo
import torch._inductor.config as inductor
from torch import nn

from avbench.config import Precision
from avbench.errors import InputError
from avbench.methods.vit import Block
from avbench.training.compiled import compile_blocks, frozen_blocks
from avbench.training.group import ProcessGroup
from avbench.training.loop import train
from avbench.training.objective import PretrainingLoss
from avbench.training.precision import autocast
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


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frozen_blocks_give_the_same_results_for_any_number_of_clips_and_tokens(precision: Precision) -> None:
    plain, frozen = blocks().eval(), blocks().eval()
    bound = 1e-5 if precision == "fp32" else 2e-2
    with torch.inference_mode(), frozen_blocks(frozen, precision, "cpu") as compiled, autocast(precision, "cpu"):
        assert compiled
        for shape in ((3, 5, 8), (2, 7, 8), (1, 5, 8), (3, 1, 8)):
            x = torch.linspace(-1, 1, math.prod(shape)).view(shape)
            torch.testing.assert_close(frozen(x), plain(x), rtol=bound, atol=bound)
    for ours, theirs in zip(passed(frozen), passed(plain), strict=True):  # as they were, and can be trained
        assert torch.equal(ours, theirs)


@pytest.fixture
def no_compiler() -> Iterator[None]:
    torch._dynamo.reset()  # what was compiled before would serve again
    with inductor.patch({"cpp.cxx": ("/nowhere/g++",)}), torch.compiler.config.patch(force_disable_caches=True):
        yield


def assert_told(caplog: pytest.LogCaptureFixture) -> None:
    """Checks that one line says why."""
    told = [message for message in caplog.messages if message.startswith("train.compiled: ")]
    assert len(told) == 1
    assert re.fullmatch(r".*the blocks cannot be compiled here and run as they are \(.*C\+\+ compiler.*\)", told[0])


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_nothing_is_frozen(caplog: pytest.LogCaptureFixture) -> None:
    model = blocks().eval()
    with caplog.at_level(logging.WARNING, "avbench"), frozen_blocks(model, "fp32", "cpu") as compiled:
        assert not compiled
        x = torch.ones(2, 3, 8)
        assert torch.equal(model(x), blocks().eval()(x))
    assert_told(caplog)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_they_run_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    model = blocks()
    with caplog.at_level(logging.WARNING, "avbench"):
        assert not compile_blocks(model, "fp32", "cpu")
    assert_told(caplog)
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

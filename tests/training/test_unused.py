"""The parameters that a loss never reaches are known before the first step, and no step reads a value of the device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avbench import registry
from avbench.bench.methods import SEVEN
from avbench.bench.step import _batch, session_of
from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.methods.base import Method
from avbench.rng import torch_stream
from avbench.training.unused import without_gradient

MODEL = ModelConfig(
    embed_dim=16,
    num_heads=2,
    modality_depth=1,
    decoder_embed_dim=8,
    decoder_depth=1,
    decoder_num_heads=2,
)


def method(name: str) -> Method:
    inputs = InputConfig(n_mels=32, target_length=96, image_size=32, segment_length=48 if name == "cavmae_sync" else 0)
    entry = registry.find("method", name).load()
    found: Method = entry.METHOD(entry.CONFIG(), MODEL, inputs)
    return found


@pytest.mark.parametrize("name", SEVEN)
def test_what_gets_no_gradient_is_known_beforehand(name: str) -> None:
    model, draw = method(name), torch_stream(0, "test")
    inputs = model.input_config
    rows = inputs.segment_length or inputs.target_length
    audio = torch.randn(4, rows, inputs.n_mels, generator=draw)
    visual = torch.randn(4, 3, inputs.image_size, inputs.image_size, generator=draw)
    model(audio, visual, model.draw_noise(4, draw)).loss.backward()
    found = [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert without_gradient(model) == found
    assert bool(found) == (name in ("avmae", "cav", "cavmae", "cavmae_sync"))


def test_of_others_methods_it_is_not_known() -> None:
    class Theirs(type(method("cav"))):  # type: ignore[misc]
        """A method from outside, which may run what it likes."""

    assert (
        without_gradient(Theirs(*(getattr(method("cav"), n) for n in ("config", "model_config", "input_config"))))
        is None
    )


@pytest.mark.parametrize("name", SEVEN)
def test_a_step_reads_nothing_of_its_device(name: str, tmp_path: Path) -> None:
    """Tensors on the meta device have no values: a step that reads one, as if it waited for a GPU, fails there."""
    model = method(name)
    config = TrainConfig(batch_size=4, clip_norm=1.0, log_every=1000, accumulate=2)
    batch = _batch(model)
    batch = type(batch)(batch.index, batch.audio[:, : model.input_config.segment_length or None], batch.visual)
    session = session_of(model.to("meta"), config, "fp32", tmp_path, device="meta")
    for _ in range(2):
        session.step(batch, 0.0)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        float(next(model.parameters()).detach().sum())

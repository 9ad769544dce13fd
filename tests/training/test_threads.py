"""Idle cores in a training: numbers are those of one thread, and the faster number is taken."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_method as tiny
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from avbench import registry
from avbench.config import InputConfig, ModelConfig
from avbench.methods.base import Method
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.processes import own_cores
from avbench.rng import torch_stream
from avbench.training.threads import Threads, load

CLIPS = 64
MODEL = ModelConfig(
    embed_dim=96, num_heads=3, modality_depth=1, decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4
)
INPUT = InputConfig(frame_shift_ms=40.0, target_length=64, image_size=96)


@pytest.fixture(autouse=True)
def _threads_of_before() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(name: str) -> Method:
    module = registry.find("method", name).load()
    return module.METHOD(module.CONFIG(), MODEL, replace(INPUT, segment_length=32 if name == "cavmae_sync" else 0))


class Load:
    """A machine on which a step takes a second, and has had so many cores."""

    def __init__(self, cores: float) -> None:
        self.cores, self.now, self.had = cores, 0.0, 0.0
        self.used: list[int] = []

    def threads(self, most: int) -> Threads:
        return Threads(most, lambda: self.now, lambda: self.had)

    def step(self) -> None:
        self.used.append(torch.get_num_threads())
        self.now += 1
        self.had += self.cores


@pytest.mark.parametrize("name", tuple(registry.entries("method")))
def test_gradients_have_the_bits_of_one_thread(name: str) -> None:
    method = built(name)
    rows = INPUT.target_length if name != "cavmae_sync" else 32
    draw = torch_stream(0, "clips")
    audio, visual = torch.randn(CLIPS, rows, 128, generator=draw), torch.randn(CLIPS, 3, 96, 96, generator=draw)
    noise = method.draw_noise(CLIPS, torch_stream(0, "mask"))

    def differentiate() -> None:
        used.append(torch.get_num_threads())
        method(audio, visual, noise).loss.backward()

    found: list[dict[str, torch.Tensor]] = []
    machine = Load(2)
    with machine.threads(2).of(method) as chosen:
        for _ in range(3):
            used: list[int] = []
            method.zero_grad(set_to_none=True)
            chosen.step(method, differentiate)
            found.append({key: each.grad.clone() for key, each in method.named_parameters() if each.grad is not None})
            machine.step()
    assert used == [2]  # were not refused
    for gradients in found[1:]:
        assert [key for key, value in gradients.items() if not torch.equal(value, found[0][key])] == []


def test_a_number_that_gives_other_bits_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    model, machine = nn.Linear(2, 1), Load(2)

    def differentiate() -> None:
        machine.step()
        (model(torch.ones(2)) * torch.get_num_threads()).backward()

    with caplog.at_level(logging.INFO, "avbench"), machine.threads(2).of(model) as chosen:
        for step in range(20):
            model.zero_grad(set_to_none=True)
            chosen.step(model, differentiate)
            assert model.weight.grad is not None
            assert torch.equal(model.weight.grad, torch.ones(1, 2)), step
    assert machine.used.count(2) == 1
    assert "2 threads give other last bits than one here, and are not used" in caplog.text


@pytest.mark.parametrize(
    ("most", "cores", "threads"),
    [
        (4, 1.0, 1),
        (4, 1.6, 1),
        (4, 1.8, 2),
        (4, 3.5, 2),
        (4, 3.9, 4),
        (2, 4.0, 2),
        (3, 4.0, 2),
        (1, 4.0, 1),
        (4, 0.3, 1),
    ],
)
def test_there_are_as_many_as_cores_are_free(most: int, cores: float, threads: int) -> None:
    model, machine = nn.Linear(2, 1), Load(cores)
    with machine.threads(most).of(model) as chosen:
        for _ in range(8):
            chosen.step(model, machine.step)
    assert machine.used[0] == 1
    assert machine.used[-3:] == [threads] * 3
    assert torch.get_num_threads() == 1


def test_cores_that_other_work_takes_are_left_to_it() -> None:
    model, machine = nn.Linear(2, 1), Load(2)
    with machine.threads(2).of(model) as chosen:
        for _ in range(6):
            chosen.step(model, machine.step)
        machine.cores = 1.2
        for _ in range(2):
            chosen.step(model, machine.step)
    assert machine.used[-3:] == [2, 2, 1]


def test_a_busy_process_has_what_it_used_and_what_was_idle() -> None:
    begin, had, number = time.monotonic(), load(), 0
    while time.monotonic() - begin < 0.5:
        number += 1
    has, end = load(), time.monotonic()
    assert 0 < has - had <= (own_cores() + 0.1) * (end - begin) + 0.1  # clocks tick every hundredth


class Seen(tiny.TinyMethod):
    """Notes with how many threads its steps are computed."""

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        self.used = {*getattr(self, "used", ()), torch.get_num_threads()}
        return super().forward(audio, visual, noise)


def test_a_training_takes_idle_cores_and_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avbench.training.loop.free_cores", lambda workers: 2 - workers)
    monkeypatch.setattr(Threads, "_choose", lambda self: 2)
    weights, used = [], []
    for setting, workers in ((1, 0), (-1, 0), (-1, 1)):
        method = Seen()
        folder = tmp_path / f"{setting}.{workers}"
        settings = tiny.config(threads=setting)
        weights.append(load_file(tiny.train(folder, settings, method=method, workers=workers).weights))
        used.append(method.used)
    assert used == [{1}, {1, 2}, {1}]  # two were first compared with one
    for key, value in weights[0].items():
        assert all(torch.equal(value, other[key]) for other in weights[1:]), key

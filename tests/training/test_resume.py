"""A run that was interrupted ends with the weights of one that was not."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_method as tiny
import torch
from safetensors.torch import load_file

from avbench.errors import InputError, RunError, Stopped
from avbench.training.interrupt import stop_on_signals
from avbench.training.loop import TrainResult


def equal_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def columns(directory: Path) -> list[list[str]]:
    """The rows of metrics.csv without the times."""
    lines = [line.split(",") for line in (directory / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if name not in {"clips_per_s", "wall_s", "data_wait_share"}]
    return [[line[i] for i in keep] for line in lines]


def newest(directory: Path) -> int:
    return max((int(path.name[5:]) for path in directory.glob("checkpoints/step-*")), default=0)


def test_killed_at_random_steps(tmp_path: Path) -> None:
    whole = tiny.process(tiny.train_slowly, tmp_path / "whole")
    draw, killed, steps = random.Random(0), tmp_path / "killed", [0]
    for _ in range(4):
        process = tiny.process(tiny.train_slowly, killed)
        while newest(killed) == steps[-1]:
            assert process.is_alive()
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.15))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        steps.append(newest(killed))
    assert steps == sorted(set(steps)), "each start went on from where the one before was killed"
    last = tiny.process(tiny.train_slowly, killed)
    for process in (last, whole):
        process.join(60)
        assert process.exitcode == 0
    assert equal_weights(tmp_path / "whole/weights.safetensors", killed / "weights.safetensors")
    assert equal_weights(tmp_path / "whole/best/model.safetensors", killed / "best/model.safetensors")
    assert columns(killed) == columns(tmp_path / "whole")
    assert not list((killed / "checkpoints").glob(".*"))


@pytest.fixture
def heard() -> Iterator[Callable[[signal.Signals], None]]:
    """Has a signal act that the tests ignore where they run under nohup."""
    before: dict[signal.Signals, Any] = {}

    def hear(number: signal.Signals) -> None:
        if signal.getsignal(number) is signal.SIG_IGN:
            before[number] = signal.signal(number, signal.SIG_DFL)

    yield hear
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_finish_the_step_and_leave_a_checkpoint(
    tmp_path: Path, number: signal.Signals, heard: Callable[[signal.Signals], None]
) -> None:
    heard(number)
    timer = threading.Timer(0.03, os.kill, (os.getpid(), number))
    before = signal.getsignal(number)
    timer.start()
    with pytest.raises(Stopped, match=rf"{number.name} after step \d+ of 23.*step-.*resumes") as caught:
        tiny.train(tmp_path / "stopped", feed=tiny.slow)
    assert caught.value.signal_number == number
    assert signal.getsignal(number) is before
    tiny.train(tmp_path / "stopped")
    tiny.train(tmp_path / "whole")
    assert equal_weights(tmp_path / "whole/weights.safetensors", tmp_path / "stopped/weights.safetensors")


def test_a_terminal_that_closes_stops_nothing_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as request:
            signal.raise_signal(signal.SIGHUP)
            assert request.reason == ""
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("after", "settings"), [(1, {}), (9, {"optimizer": "adamw", "clip_norm": 0.1}), (22, {})])
def test_stopped_between_steps(tmp_path: Path, after: int, settings: dict[str, object]) -> None:
    config = tiny.config(schedule="cosine", warmup=0.2, **settings)
    with pytest.raises(Stopped):
        tiny.train(tmp_path / "stopped", config, stop=tiny.Stop(after))
    resumed = tiny.train(tmp_path / "stopped", config)
    whole = tiny.train(tmp_path / "whole", config)
    assert resumed.resumed_from > 0 or after == 1
    assert equal_weights(whole.weights, resumed.weights)
    assert columns(tmp_path / "stopped") == columns(tmp_path / "whole")


def test_an_error_in_the_data_costs_no_more_than_the_last_checkpoint(tmp_path: Path) -> None:
    def failing(epoch: int, skip: int) -> Iterator[tiny.TinyBatch]:
        for number, batch in enumerate(tiny.batches(epoch, skip)):
            if epoch == 3 and number == 2:
                raise OSError("the disk with the clips went away")
            yield batch

    config = tiny.config(checkpoint_seconds=1e-6)
    with pytest.raises(OSError, match="went away"):
        tiny.train(tmp_path / "a", config, feed=failing)
    resumed = tiny.train(tmp_path / "a", config)
    assert resumed.resumed_from > 0
    assert equal_weights(resumed.weights, tiny.train(tmp_path / "b", config).weights)


def test_fp16_scale_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A GPU's arithmetic on the CPU: small growth interval, so that the scale moves during the run.
    monkeypatch.setattr(
        "avbench.training.loop.gradient_scaler",
        lambda precision, device: torch.amp.GradScaler(device, init_scale=8.0, growth_interval=4),
    )
    with pytest.raises(Stopped):
        tiny.train(tmp_path / "stopped", precision="fp16", stop=tiny.Stop(20))
    stopped = tiny.train(tmp_path / "stopped", precision="fp16")
    whole = tiny.train(tmp_path / "whole", precision="fp16")
    assert equal_weights(whole.weights, stopped.weights)
    states = [(tmp_path / n / "checkpoints/step-00000023/state.json").read_text() for n in ("stopped", "whole")]
    assert all('"scale": 256.0' in text for text in states)


def test_checkpoints_of_another_pretraining_are_refused(tmp_path: Path) -> None:
    tiny.train(tmp_path)
    with pytest.raises(InputError, match=f"'{tiny.STAGE}', valid here: 'other'"):
        tiny.train(tmp_path, stage="other")


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    process = tiny.process(tiny.train_slowly, tmp_path)
    while newest(tmp_path) == 0:
        assert process.is_alive()
        time.sleep(0.005)
    with pytest.raises(RunError, match="another process trains there"):
        tiny.train(tmp_path)
    process.kill()
    process.join()
    tiny.train(tmp_path, tiny.config(steps=200))


def test_cavmae_goes_on_exactly(tmp_path: Path) -> None:
    from avbench.config import InputConfig, ModelConfig
    from avbench.methods.cavmae import CavMae, CavMaeConfig

    sizes = InputConfig(n_mels=32, target_length=48, image_size=32)
    model = ModelConfig(
        embed_dim=16, num_heads=2, modality_depth=1, decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2
    )

    def batches(epoch: int, skip: int) -> Iterator[tiny.TinyBatch]:
        for number in range(skip, tiny.PER_EPOCH):
            draw = tiny.torch_stream(1, "clips", epoch, number)
            audio = torch.randn(tiny.BATCH, 48, 32, generator=draw)
            yield tiny.TinyBatch(torch.arange(tiny.BATCH), audio, torch.randn(tiny.BATCH, 3, 32, 32, generator=draw))

    def run(name: str, **options: object) -> TrainResult:
        method = CavMae(CavMaeConfig(lambda_c=0.1), model, sizes, seed=1)
        return tiny.train(tmp_path / name, tiny.config(accumulate=2), method=method, feed=batches, **options)

    with pytest.raises(Stopped):
        run("stopped", stop=tiny.Stop(17))
    stopped, whole = run("stopped"), run("whole")
    assert 0 < stopped.resumed_from < 23
    assert equal_weights(whole.weights, stopped.weights)
    assert {"reconstruction_audio", "reconstruction_visual", "contrast"} <= whole.row.keys()
    assert equal_weights(whole.weights, tmp_path / "stopped/checkpoints/step-00000023/model.safetensors")

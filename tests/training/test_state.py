"""Checkpoints on disk: kept, broken, and a disk that is full."""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import tiny_method as tiny
import torch
from safetensors.torch import load_file

from avbench.errors import RunError, Stopped
from avbench.methods.base import Method
from avbench.training.metrics_log import MetricsLog
from avbench.training.optimizer import build_optimizer
from avbench.training.state import Checkpoints, TrainState


def saved(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*"))


def make(tmp_path: Path, keep: int = 2) -> tuple[Checkpoints, Method, torch.optim.Optimizer]:
    method = tiny.TinyMethod()
    return Checkpoints(tmp_path, tiny.STAGE, keep), method, build_optimizer(method, tiny.config(), "cpu")


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    checkpoints, method, optimizer = make(tmp_path, keep)
    for step in (4, 9, 99, 100, 1000):
        checkpoints.save(TrainState(tiny.STAGE, step), method, optimizer)
    assert saved(tmp_path) == [4, 9, 99, 100, 1000][-keep:]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_broken_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny.config(checkpoint_seconds=1e-6, keep_checkpoints=30, steps=6)
    whole = load_file(tiny.train(tmp_path, config).weights)
    path = tmp_path / "checkpoints/step-00000006" / name
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        path.write_bytes(content[:-3] + bytes(255 - byte for byte in content[-3:]))
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING, "avbench"):
        result = tiny.train(tmp_path, config)
    assert result.resumed_from < 6
    assert "step-00000006 is broken" in caplog.text
    again = load_file(result.weights)
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    assert saved(tmp_path)[-1] == 6
    assert tiny.train(tmp_path, config).resumed_from == 6


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 64
    path.write_bytes(data)


@pytest.mark.parametrize("when", ["stopped", "at the end"])
def test_best_weights_that_were_changed_are_not_handed_over(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(select="best")
    whole = load_file(tiny.train(tmp_path / "whole", config, validate=tiny.tuning).weights)
    folder = tmp_path / "changed"
    if when == "stopped":
        with pytest.raises(Stopped):
            tiny.train(folder, config, validate=tiny.tuning, stop=tiny.Stop(18))
        flip(folder / "best/model.safetensors")
    else:
        save = Checkpoints.save

        def late(*arguments: Any) -> Path:
            flip(folder / "best/model.safetensors")
            return save(*arguments)

        with monkeypatch.context() as patch, pytest.raises(RunError, match="The same command trains again"):
            patch.setattr(Checkpoints, "save", late)  # the last, before the weights are handed over
            tiny.train(folder, config, validate=tiny.tuning)
    result = tiny.train(folder, config, validate=tiny.tuning)
    assert result.resumed_from == 0
    assert (folder / "best.damaged").is_dir()
    again = load_file(result.weights)
    assert all(torch.equal(whole[key], again[key]) for key in whole)


@pytest.mark.parametrize("text", ["", "step,loss\n1,\xff\n", "\0", "a,b\n1,2\n", "\u00b2,1\n"])
def test_a_damaged_course_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_bytes(text.encode("latin-1"))
    log = MetricsLog(tmp_path, step=4)
    log.write({"step": 8, "loss": 1.5})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n8,1.5\n"


def test_nothing_usable_means_from_the_start(tmp_path: Path) -> None:
    tiny.train(tmp_path / "a")
    for path in (tmp_path / "a/checkpoints").glob("*/state.json"):
        path.write_text("{}")
    again = tiny.train(tmp_path / "a")
    assert again.resumed_from == 0
    whole, other = load_file(tiny.train(tmp_path / "b").weights), load_file(again.weights)
    assert all(torch.equal(whole[key], other[key]) for key in whole)


def test_weights_of_a_checkpoint_are_a_checkpoint_for_everyone(tmp_path: Path) -> None:
    from avbench.training.checkpoints import load_weights

    result = tiny.train(tmp_path)
    method = tiny.TinyMethod(seed=9)
    load_weights(method, tmp_path / "checkpoints/step-00000023/model.safetensors")
    assert torch.equal(method.audio.weight, load_file(result.weights)["audio.weight"])


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        tiny.train(tmp_path, stop=tiny.Stop(20))
    before = saved(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            RunError, match=r"step-.*: cannot be written \(No space left.*needed.* The last good.*step-"
        ) as e:
            tiny.train(tmp_path)
    assert "\n" not in str(e.value)
    assert saved(tmp_path) == before
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert tiny.train(tmp_path).resumed_from == before[-1]


def train_limited(directory: Path, limit: int, answer: Path) -> None:
    """Trains where no file may grow beyond ``limit`` bytes, and writes down the error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        tiny.train(directory)
    except RunError as error:
        answer.write_text(str(error))


@pytest.mark.parametrize("limit", [10, 900])
def test_writes_that_really_fail(tmp_path: Path, limit: int) -> None:
    process = tiny.process(train_limited, tmp_path / "run", limit, tmp_path / "answer")
    process.join(60)
    text = (tmp_path / "answer").read_text() if limit > 10 else ""
    assert process.exitcode == (0 if limit > 10 else 1)  # with 10 bytes the answer cannot be written either
    if limit > 10:
        assert "cannot be written" in text
        assert "There is no checkpoint yet" in text
    assert saved(tmp_path / "run") == []
    assert tiny.train(tmp_path / "run").resumed_from == 0


def test_rows_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, step=0)
    for step in (5, 10, 15):
        log.write({"step": step, "loss": 1 / step, "tuning_loss": None})
    with (tmp_path / "metrics.csv").open("a") as handle:
        handle.write("20,0.0")  # cut by a kill
    log = MetricsLog(tmp_path, step=10)
    log.write({"step": 15, "loss": 2.0, "tuning_loss": 0.5})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,loss,tuning_loss", "5,0.2,", "10,0.1,", "15,2,0.5",
    ]  # fmt: skip
    MetricsLog(tmp_path, step=0)
    assert not (tmp_path / "metrics.csv").exists()

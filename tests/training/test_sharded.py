"""Processes that each hold a part of the model train it as one process would, and leave what one would."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ranks import Ranks, losses, same_losses, train, weights
from safetensors.torch import load_file

FSDP = ["--parallel", "fsdp"]


def same_tensors(one: Path, other: Path, *, exactly: bool) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name in first:
        if exactly:
            assert np.array_equal(first[name], second[name]), name
        else:
            # The gradient of the keys' biases is zero but for rounding, and Adam makes whole steps of that.
            most = 1e-3 if name.endswith("qkv.bias") else 1e-4
            np.testing.assert_allclose(second[name], first[name], rtol=0, atol=most, err_msg=name)


def checkpoint(results: Path) -> Path:
    return max(results.glob("stages/pretrain/*/checkpoints/step-*"))


@pytest.mark.parametrize(
    ("methods", "settings"),
    [
        (("cav",), ["method.negatives=local", "train.accumulate=2", "train.weight_decay=0.1"]),
        pytest.param(("cavmae", "cavmae_sync"), ["method.negatives=gathered"], marks=pytest.mark.slow),
        pytest.param(("visualmae", "vanilla_avmae"), ["train.clip_norm=0.5"], marks=pytest.mark.slow),
    ],
)
def test_two_parts_lose_as_the_whole_does(
    clips_cache: Path, tmp_path: Path, methods: tuple[str, ...], settings: list[str]
) -> None:
    settings = [*settings, "train.steps=5"]
    train(clips_cache, tmp_path / "one", methods, settings, 1)
    train(clips_cache, tmp_path / "two", methods, settings, 2, FSDP)
    same_losses(tmp_path / "one", tmp_path / "two", len(methods))
    for one in tmp_path.glob("one/stages/pretrain/*"):
        two = tmp_path / "two" / one.relative_to(tmp_path / "one")
        # The same keys also of the averages: parameters without gradient have none, and stay what they were.
        same_tensors(one / "weights.safetensors", two / "weights.safetensors", exactly=False)
        for name in ("model.safetensors", "optimizer.safetensors"):
            same_tensors(max(one.glob("checkpoints/*")) / name, max(two.glob("checkpoints/*")) / name, exactly=False)


def stop_once_saved(cache: Path, results: Path, settings: list[str]) -> int:
    """Trains in parts until a checkpoint was written; returns the step of the last."""
    ranks = Ranks(cache, results, ("cav",), settings, 2, FSDP)
    while not list(results.glob("stages/pretrain/*/checkpoints/step-*")):
        assert ranks.processes[0].poll() is None, ranks.wait()
        time.sleep(0.01)
    ranks.processes[1].send_signal(signal.SIGTERM)
    found = ranks.wait()
    assert all("training stopped by" in err for *_, err in found), found
    step: int = json.loads((checkpoint(results) / "state.json").read_text())["step"]
    return step


@pytest.mark.slow
def test_parts_that_were_stopped_end_with_the_weights_of_those_that_were_not(clips_cache: Path, tmp_path: Path) -> None:
    settings = ["method.negatives=gathered", "train.steps=40", "train.checkpoint_seconds=0.01"]
    train(clips_cache, tmp_path / "whole", ("cav",), settings, 2, FSDP)
    assert stop_once_saved(clips_cache, tmp_path / "stopped", settings) < 40
    train(clips_cache, tmp_path / "stopped", ("cav",), settings, 2, FSDP)
    same_tensors(weights(tmp_path / "whole"), weights(tmp_path / "stopped"), exactly=True)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((2, FSDP), (1, [])),
        pytest.param((2, []), (2, FSDP), marks=pytest.mark.slow),
        pytest.param((1, []), (2, FSDP), marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_is_gone_on_with_in_another_way(
    clips_cache: Path, tmp_path: Path, first: tuple[int, list[str]], then: tuple[int, list[str]]
) -> None:
    settings = ["method.negatives=gathered", "train.checkpoint_seconds=1e-6", "train.keep_checkpoints=9"]
    settings += ["train.steps=6", "train.clip_norm=0.5"]
    train(clips_cache, tmp_path / "one", ("cav",), settings, *first)
    (early,) = tmp_path.glob("one/stages/pretrain/*/checkpoints/step-00000001")
    shutil.copytree(early, tmp_path / "two" / early.relative_to(tmp_path / "one"))
    train(clips_cache, tmp_path / "two", ("cav",), settings, *then)
    assert [len(table) for table in losses(tmp_path / "two").values()] == [5]
    same_tensors(weights(tmp_path / "one"), weights(tmp_path / "two"), exactly=False)

"""Several processes train one model: as one process would, and they end together."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ranks import Ranks, same_losses, train, weights
from safetensors.torch import load_file

from avbench.cli import main
from avbench.errors import InputError
from avbench.training.group import ProcessGroup
from avbench.training.share import Share

CONTRASTED = ("cav", "cavmae", "cavmae_sync")


@pytest.mark.parametrize(
    ("methods", "settings"),
    [
        (("cavmae",), ["method.negatives=gathered", "train.accumulate=2"]),
        (("cavmae",), ["method.negatives=local", "train.accumulate=2"]),
        pytest.param(CONTRASTED, ["method.negatives=gathered"], marks=pytest.mark.slow),
        pytest.param(("audiomae", "visualmae", "vanilla_avmae", "avmae"), [], marks=pytest.mark.slow),
    ],
)
def test_two_processes_lose_as_one_does(
    clips_cache: Path, tmp_path: Path, methods: tuple[str, ...], settings: list[str]
) -> None:
    settings = [*settings, "train.steps=5"]
    train(clips_cache, tmp_path / "one", methods, settings, 1)
    train(clips_cache, tmp_path / "two", methods, settings, 2)
    same_losses(tmp_path / "one", tmp_path / "two", len(methods))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "further", "worlds"),
    [
        ("cavmae", ["method.negatives=local"], (2, 4)),
        ("vanilla_avmae", [], (2,)),
    ],  # the latter's passes cannot be halved
)
def test_four_shares_of_a_batch_lose_alike_in_one_two_and_four_processes(
    clips_cache: Path, tmp_path: Path, method: str, further: list[str], worlds: tuple[int, ...]
) -> None:
    settings = [*further, "train.accumulate=4", "train.batch_size=12", "train.steps=3"]  # four of three
    for world in (1, *worlds):
        train(clips_cache, tmp_path / str(world), (method,), settings, world)
    for world in worlds:
        same_losses(tmp_path / "1", tmp_path / str(world), 1)


def test_a_group_that_was_stopped_ends_with_the_weights_of_one_that_was_not(clips_cache: Path, tmp_path: Path) -> None:
    settings = ["method.negatives=gathered", "train.steps=40", "train.checkpoint_seconds=0.01"]
    train(clips_cache, tmp_path / "whole", ("cav",), settings, 2)
    stopped = tmp_path / "stopped"
    ranks = Ranks(clips_cache, stopped, ("cav",), settings, 2)
    while not list(stopped.glob("stages/pretrain/*/checkpoints/step-*")):
        assert ranks.processes[0].poll() is None, ranks.wait()
        time.sleep(0.01)
    ranks.processes[1].send_signal(signal.SIGTERM)  # one is told, and all stop after the same step
    found = ranks.wait()
    assert all(status != 0 for status, *_ in found)
    assert "training stopped by SIGTERM" in found[1][2]
    assert "training stopped by a signal to another of its processes" in found[0][2]
    train(clips_cache, stopped, ("cav",), settings, 2)
    one, other = load_file(weights(tmp_path / "whole")), load_file(weights(stopped))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_process_that_dies_ends_the_others(clips_cache: Path, tmp_path: Path) -> None:
    ranks = Ranks(clips_cache, tmp_path, ("cav",), ["method.negatives=gathered", "train.steps=100000"], 2)
    while not list(tmp_path.glob("stages/pretrain/*/metrics.csv")):
        assert ranks.processes[0].poll() is None, ranks.wait()
        time.sleep(0.05)
    ranks.processes[1].kill()
    (status, _, message), _ = ranks.wait(60)
    assert status == 1, message
    assert "another process of this training has ended" in message


def test_only_pretraining_is_shared(
    clips_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(clips_cache))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", "--method", "cavmae", "--results", str(tmp_path)]) == 2
    assert "WORLD_SIZE: found 2, valid here: 1 or unset" in capsys.readouterr().err
    monkeypatch.delenv("RANK", raising=False)
    assert main(["pretrain", "--method", "cavmae", "--results", str(tmp_path)]) == 2
    assert "no RANK" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch", [48, 108, 120, 256, 512])
def test_the_papers_batches_are_for_one_two_and_four_processes(batch: int) -> None:
    clips = np.arange(2 * batch)
    for world in (1, 2, 4):
        shares = [Share(batch, 4, together=True, group=ProcessGroup(rank, world)) for rank in range(world)]
        assert {share.clips // share.passes for share in shares} == {batch // 4}
        found = [share.order(clips).reshape(2, share.passes, batch // 4) for share in shares]
        assert np.array_equal(np.concatenate(found, axis=1).reshape(-1), clips)


@pytest.mark.parametrize(
    ("accumulate", "world", "together"),
    [(1, 1, True), (4, 1, True), (4, 2, True), (4, 4, True), (4, 2, False), (1, 3, False)],
)
def test_every_clip_of_a_step_is_computed_once_and_in_its_own_pass(accumulate: int, world: int, together: bool) -> None:
    batch, order = 24, np.random.default_rng(0).permutation(100)
    shares = [Share(batch, accumulate, together=together, group=ProcessGroup(rank, world)) for rank in range(world)]
    parts = [share.order(order).reshape(-1, batch // world) for share in shares]
    passes = order[:96].reshape(4, accumulate, batch // accumulate)
    for step in range(4):
        assert sorted(np.concatenate([part[step] for part in parts])) == sorted(order[step * batch :][:batch])
        for share, part in zip(shares, parts, strict=True):
            for number, clips in enumerate(part[step].reshape(share.passes, -1)):
                assert list(clips) == list(order[step * batch :][share.rows(number)])
                of = [set(clips) <= set(each) for each in passes[step]]
                assert sum(of) == 1
                assert not together or set(clips) == set(passes[step][of.index(True)])


def test_clips_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(InputError, match=r"train\.accumulate: found 1, valid for 2 processes.*gathered"):
        Share(24, 1, together=True, group=ProcessGroup(0, 2))
    with pytest.raises(InputError, match=r"train\.batch_size: found 24, valid for 5 processes: a multiple of 5"):
        Share(24, 1, together=False, group=ProcessGroup(0, 5))

"""Several processes extract what one does, to the bit, and go on after one of them was killed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from labelled_clips import INPUT, MODEL, LabelledClips

from avbench.cli import main
from avbench.config import RunConfig
from avbench.data.corpus.clips import Clips
from avbench.encoders import of_method
from avbench.encoders.of_method import OfMethod
from avbench.errors import RunError
from avbench.methods.base import Method
from avbench.running import batches, extraction, weights
from avbench.running.request import Request, resolve
from avbench.store import extracted, parts
from avbench.store.arrays import RowWriter
from avbench.store.features import Features
from avbench.tasks.retrieval import TASK

N, BATCH = 44, 8


class FatalClips(LabelledClips):
    """Clips of which one kills the process that reads it, once."""

    trap = Path("unused")

    def waveform(self, i: int) -> tuple[np.ndarray, int]:
        if self.ids[i] == "clip027" and self.trap.exists():
            self.trap.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().waveform(i)


class BrokenClips(LabelledClips):
    """Clips of which one cannot be read."""

    def waveform(self, i: int) -> tuple[np.ndarray, int]:
        if self.ids[i] == "clip027":
            raise RunError("clip 'clip027': broken")
        return super().waveform(i)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_method, "_BATCH", BATCH)


def config(method: str = "cavmae") -> RunConfig:
    found = resolve(Request(method=method, data="soundshapes", sets=("train.workers=0",)))
    return dataclasses.replace(found, input=INPUT, model=MODEL)


def extract(
    folder: Path, processes: int, clips: Any = None, method: Any = None, device: str = "cpu"
) -> extracted.Arrays:
    run = config()
    extraction.extract(
        "vectors",
        OfMethod(method or weights.build(run).to(device).eval(), run, device),
        cast(Clips, clips or LabelledClips(N)),
        run,
        folder,
        device=device,
        progress=False,
        processes=processes,
    )
    return extracted.arrays(folder)


def equal(first: extracted.Arrays, second: extracted.Arrays) -> bool:
    """Returns whether two extractions are the same to the bit."""
    return first.keys() == second.keys() and all(
        first[name].shape == second[name].shape and first[name].tobytes() == second[name].tobytes() for name in first
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> extracted.Arrays:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_method, "_BATCH", BATCH)
        return extract(tmp_path_factory.mktemp("one"), 1)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_the_same_bits_and_metrics(
    processes: int, one: extracted.Arrays, tmp_path: Path
) -> None:
    found = extract(tmp_path, processes)
    assert equal(found, one)
    assert found["audio"].shape == (N, 1, MODEL.embed_dim)
    metrics = [
        TASK.evaluate(Features(LabelledClips(N).ids, each["audio"], each["visual"], {}), config().task).metrics
        for each in (one, found)
    ]
    assert metrics[0] == metrics[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio.npy", "ids.json", "joint.npy", "visual.npy"]


def test_a_killed_process_is_named_and_the_next_run_goes_on(
    one: extracted.Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = FatalClips(N)
    clips.trap = tmp_path / "trap"
    clips.trap.touch()
    with pytest.raises(RunError, match=r"extraction process 2 of 2 ended \(SIGKILL\).*run the same\s+command again"):
        extract(tmp_path / "out", 2, clips)
    assert not clips.trap.exists()
    assert equal(extract(tmp_path / "out", 1, clips), one)


@pytest.mark.slow
def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="clip 'clip027': broken"):
        extract(tmp_path, 2, BrokenClips(N))


class Counting:
    """A method that counts the clips it sees."""

    def __init__(self, method: Method) -> None:
        self.method, self.seen = method, 0

    def vectors(self, audio: Any, visual: Any) -> Any:
        self.seen += len(audio)
        return self.method.vectors(audio, visual)


def job_of(folder: Path, todo: list[int], device: str = "cpu") -> batches.Batches:
    """Returns an extraction."""
    return batches.Batches(
        kind="vectors",
        judged=OfMethod(weights.build(config()).eval(), config(), device),
        clips=cast(Clips, LabelledClips(N)),
        folder=folder,
        device=device,
        readers=0,
        threads=1,
        todo=todo,
    )


def shared(folder: Path, todo: list[int], rank: int, world: int) -> None:
    """Does the work of one of several processes, here."""
    folder.mkdir(exist_ok=True)
    job = job_of(folder, todo)
    job.compute_share(rank, world, lambda _: None)


def test_what_others_left_is_used_and_twice_computed_clips_count_once(one: extracted.Arrays, tmp_path: Path) -> None:
    method = Counting(weights.build(config()).eval())
    extraction._claim(tmp_path, LabelledClips(N).ids)
    shared(tmp_path, [0, 1, 2, 3, 4], 0, 2)  # batches 0, 2 and 4
    shared(tmp_path, [1, 2, 5], 1, 2)  # batch 2 again
    shared(tmp_path, [5], 0, 1)  # the last, of four clips
    assert equal(extract(tmp_path, 1, method=method), one)
    assert method.seen == 2 * BATCH  # batches 1 and 3
    assert not parts.finished(tmp_path, N).any()


def test_begun_by_one_process_and_finished_by_parts(one: extracted.Arrays, tmp_path: Path) -> None:
    extraction._claim(tmp_path, LabelledClips(N).ids)
    writer = RowWriter(tmp_path, N)
    writer.write({name: array[: 2 * BATCH] for name, array in one.items()})
    writer.sync()
    shared(tmp_path, [4], 0, 1)
    method = Counting(weights.build(config()).eval())
    assert equal(extract(tmp_path, 1, method=method), one)
    assert method.seen == N - 3 * BATCH


def test_the_same_clips_in_another_order_find_their_own_rows(tmp_path: Path) -> None:
    order = list(np.random.default_rng(0).permutation(N))
    extract(tmp_path, 1)
    plain = extracted.pooled(tmp_path, LabelledClips(N).ids)
    mixed = extracted.pooled(tmp_path, LabelledClips(N, indices=order).ids)
    assert mixed.ids == [plain.ids[i] for i in order]
    assert mixed.audio is not None
    assert plain.audio is not None
    assert np.array_equal(mixed.audio, plain.audio[order])
    assert isinstance(plain.audio, np.memmap)


def test_what_was_begun_in_another_order_is_not_gone_on_with(one: extracted.Arrays, tmp_path: Path) -> None:
    extraction._claim(tmp_path, LabelledClips(N).ids[::-1])
    shared(tmp_path, [0, 1], 0, 1)
    assert equal(extract(tmp_path, 1), one)


def test_processes_are_at_least_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--method", "cavmae", "--processes", "0"]) == 2
    assert "--processes: found 0, valid: at least 1" in capsys.readouterr().err


def test_each_process_sees_one_of_the_gpus_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5a")
    on_gpus = job_of(tmp_path, [], "cuda")
    seen = [on_gpus.variables(rank, 3) for rank in range(3)]
    assert seen == [{"CUDA_VISIBLE_DEVICES": name} for name in ("3", "GPU-5a", "3")]
    assert job_of(tmp_path, []).variables(1, 3) == {}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [on_gpus.variables(rank, 2)["CUDA_VISIBLE_DEVICES"] for rank in range(2)] == ["0", "1"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none here")
def test_processes_on_gpus_give_the_same_bits_and_those_of_a_cpu_nearly(one: extracted.Arrays, tmp_path: Path) -> None:
    alone, two = (extract(tmp_path / str(n), n, device="cuda") for n in (1, 2))
    assert equal(alone, two)
    for name in one:
        np.testing.assert_allclose(alone[name], one[name], rtol=1e-3, atol=1e-4)

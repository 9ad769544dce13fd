"""Several processes fine-tune one model as one process would, and say what ended them."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from labelled_clips import INPUT, MODEL, LabelledClips
from safetensors.torch import load_file

from avbench.config import FinetuneConfig
from avbench.data.corpus.clips import Clips
from avbench.errors import InputError, RunError
from avbench.running import finetuning
from avbench.running.execution import Execution
from avbench.running.identity import Finetuning
from avbench.running.request import Request, resolve
from avbench.training.finetune import FINETUNED


class Broken(LabelledClips):
    """Clips of which one cannot be read."""

    def waveform(self, i: int) -> tuple[np.ndarray, int]:
        if self.ids[i] == "clip007":
            raise RunError("clip 'clip007': broken")
        return super().waveform(i)


def stage(folder: Path, clips: Any = None, **changes: Any) -> Finetuning:
    sets = ("train.workers=0", "train.threads=1", "train.log_every=1", "train.tensorboard=false")
    config = resolve(Request(method="cavmae", data="soundshapes", sets=sets))
    values = {"epochs": 3, "batch_size": 6, "lr": 1e-3, "freq_mask": 4, "time_mask": 8, "average_from": 2, **changes}
    return Finetuning(
        name="finetune",
        id="0123456789abcdef",
        folder=folder,
        key={},
        work="",
        config=dataclasses.replace(config, input=INPUT, model=MODEL),
        mode="multimodal",
        options=FinetuneConfig(**values),
        train=cast(Clips, clips or LabelledClips(20)),
        evaluated=cast(Clips, LabelledClips(6, first=20)),
    )


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as handle:
        return [float(row["loss"]) for row in csv.DictReader(handle)]


@pytest.mark.parametrize("balanced", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_lose_as_one_does(tmp_path: Path, balanced: bool) -> None:
    """Balanced, clips come several times in an epoch and are drawn anew each time, whichever process gets them."""
    one, two = (stage(tmp_path / name, balanced=balanced, mixup=0.5) for name in ("one", "two"))
    for each in (one, two):
        each.folder.mkdir()
    finetuning.train(one, "cpu", progress=False)
    finetuning.together(two, "cpu", 2, progress=False)
    assert len(losses(one.folder)) == 9
    np.testing.assert_allclose(losses(two.folder), losses(one.folder), rtol=1e-5, atol=1e-6)
    first, second = (load_file(each.folder / FINETUNED) for each in (one, two))
    assert first.keys() == second.keys()
    for name in first:
        if name.endswith("qkv.bias"):  # that of the keys changes nothing, and Adam makes steps of its rounding
            continue
        np.testing.assert_allclose(second[name], first[name], rtol=1e-3, atol=1e-4)
    left = {path.name for path in two.folder.iterdir()}
    assert left == {path.name for path in one.folder.iterdir()}


def test_what_one_process_cannot_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"clip 'clip007': broken|another process of this training has ended"):
        finetuning.together(stage(tmp_path, Broken(20)), "cpu", 2, progress=False)
    assert not (tmp_path / FINETUNED).exists()


def test_a_batch_that_cannot_be_divided_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.batch_size: found 6, valid for 4 processes.*a multiple of 4"):
        finetuning.together(stage(tmp_path), "cpu", 4, progress=False)
    assert not list(tmp_path.iterdir())


def test_on_a_cpu_processes_change_no_bit(tmp_path: Path) -> None:
    made = []
    for processes in (1, 2):
        each = stage(tmp_path / str(processes), steps=3)
        each.folder.mkdir()
        told = finetuning.compute(each, Execution(results=tmp_path, device="cpu", processes=processes, progress=False))
        assert "processes" not in told
        made.append((each.folder / FINETUNED).read_bytes())
    assert made[0] == made[1]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_fine_tune_as_one_does(tmp_path: Path) -> None:
    folders = [tmp_path / str(processes) for processes in (1, 2)]
    for processes, folder in enumerate(folders, start=1):
        folder.mkdir()
        execution = Execution(results=tmp_path, device="cuda", processes=processes, progress=False)
        told = finetuning.compute(stage(folder, balanced=True), execution)
        assert told.get("processes", 1) == processes
    np.testing.assert_allclose(losses(folders[1]), losses(folders[0]), rtol=1e-4, atol=1e-5)

"""The runs of ``preemption.py``: tiny trainings by the real loop, and what judges their weights by real records."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from avbench.config import TrainConfig
from avbench.errors import RunError
from avbench.files import sha256_file, write_json
from avbench.launch.job import Job
from avbench.methods.masking import Draws, MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.processes import locked
from avbench.rng import numpy_stream, torch_stream
from avbench.store.records import SCHEMA, content_id, read_record, write_record
from avbench.training.loop import WEIGHTS, train

STEPS, PER_EPOCH, BATCH, WIDTH = 60, 12, 4, 8
LOG_EVERY = 5
TASKS = ("retrieval", "linear_probe", "localization")
_SAMPLES = 50  # rows of per_sample.npz
_PAUSE_S = 0.008  # of each step, so that signals meet more than arithmetic


@dataclass(frozen=True)
class Work:
    """One run: a pretraining, or an evaluation of its weights.

    Attributes:
        job: What ``slurm.submit`` gets.
        id: Of its folder.
        seed: What its numbers follow from.
        source: The id of the pretraining: its own, or the one that it needs.
    """

    job: Job
    id: str
    seed: int
    source: str

    @property
    def trains(self) -> bool:
        """Whether it is a pretraining."""
        return self.job.together

    @property
    def makes(self) -> str:
        """Its folder below the results."""
        return self.job.makes[0]


def works(count: int) -> list[Work]:
    """Returns so many runs: three evaluations behind each pretraining, in the order of ``jobs_of_runs``."""
    found: list[Work] = []
    for seed in range(count):
        method, number = f"method{seed // 10:02d}", str(seed % 10)
        common = ["--seeds", number, "--results", "results"]
        source = content_id({"stage": "pretrain", "seed": seed})
        folder = f"stages/pretrain/{source}"
        words = ("pretrain", "--method", method, *common)
        job = Job(f"{method} seed {number} pretrain", "pretrain", words, (folder,), together=True)
        found.append(Work(job, source, seed, source))
        for task in TASKS:
            name = content_id({"stage": "evaluation", "task": task, "weights": source})
            words = ("run", "--method", method, "--task", task, *common)
            job = Job(f"{method} seed {number} {task}", task, words, (f"runs/{name}",), (folder,))
            found.append(Work(job, name, seed, source))
        if len(found) >= count:
            return found[:count]
    return found


class Diary:
    """What the processes of a run did, a line each, which no kill can tear: ``SESSION WORD [STEP]``."""

    def __init__(self, folder: Path, work: Work, session: int = 0) -> None:
        self.path = folder / f"{work.id}.log"
        self._session = session

    def note(self, word: str, step: int = 0) -> None:
        """Adds a line."""
        with self.path.open("ab", buffering=0) as handle:
            handle.write(f"{self._session} {word} {step}\n".encode())

    def lines(self) -> list[tuple[int, str, int]]:
        """Returns what was noted: session, word, step."""
        if not self.path.exists():
            return []
        rows = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(session), word, int(step)) for session, word, step in rows]


class _Batch(NamedTuple):
    index: Tensor
    audio: Tensor
    visual: Tensor


class _Towers(nn.Module):
    """Two linear maps that are to agree."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.audio, self.visual = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        generator = torch_stream(seed, "weights")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.3, generator=generator)


class _Agreement:
    """Their squared distance where inputs are masked at random; each step that begins is noted."""

    def __init__(self, model: _Towers, begun: Callable[[], None]) -> None:
        self._model = model
        self._begun = begun

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        return MaskNoise(Draws(torch.rand(batch, WIDTH, generator=generator)))

    def loss(self, batch: _Batch, part: slice, noise: MaskNoise, device: str) -> PretrainOutput:
        self._begun()
        if noise.audio is None:
            raise RunError("no draws.")
        audio = self._model.audio(batch.audio[part] * (noise.audio.tokens > 0.3))
        distance = (audio - self._model.visual(batch.visual[part])).square().mean()
        return PretrainOutput(distance + 0.1 * (audio.square().mean() - 1).square())


def pretrain(work: Work, results: Path, diary: Diary, *, fails_at: int = 0, pause: float = _PAUSE_S) -> None:
    """Does what ``avbench.running.stages.settle`` does of a pretraining: lock, train what is left, write ``done.json``.

    Args:
        work: The run.
        results: The results folder.
        diary: Takes the steps.
        fails_at: The step at which reading the clips fails; 0: none.
        pause: Seconds that reading a batch takes.
    """
    folder = results / work.makes
    with locked(folder):
        if (folder / "done.json").exists():
            diary.note("reused")
            return
        model, step = _Towers(work.seed), 0

        def batches(epoch: int, skip: int) -> Iterator[_Batch]:
            nonlocal step
            for number in range(skip, PER_EPOCH):
                step = epoch * PER_EPOCH + number + 1
                if step == fails_at:
                    raise RunError("the disk with the clips went away.")
                time.sleep(pause)
                clips = torch.randn(2, BATCH, WIDTH, generator=torch_stream(work.seed, "clips", epoch, number))
                yield _Batch(torch.arange(BATCH), clips[0], clips[1])

        result = train(
            model,
            _Agreement(model, lambda: diary.note("step", step)),
            batches,
            TrainConfig(steps=STEPS, batch_size=BATCH, lr=0.01, log_every=LOG_EVERY, checkpoint_seconds=0.1),
            steps_per_epoch=PER_EPOCH,
            stage=work.id,
            seed=work.seed,
            precision="fp32",
            device="cpu",
            directory=folder,
            clip_id=str,
            progress=False,
        )
        time.sleep(pause)
        write_json(folder / "done.json", {"id": work.id, "wall_s": round(result.wall_s, 3), "steps": result.steps})
    diary.note("wrote")


def evaluate(work: Work, results: Path, diary: Diary) -> None:
    """Does what ``avbench.running.runner`` does: the record where it is there, or else the numbers and the record.

    Raises:
        RunError: The pretraining that it needs is not done.
    """
    if read_record(results, work.id) is not None:
        diary.note("reused")
        return
    source = results / "stages" / "pretrain" / work.source
    if not (source / "done.json").exists():
        raise RunError(f"{work.job.name} began before its pretraining was done.")
    diary.note("begun")
    rows = scores(work, source / WEIGHTS)
    time.sleep(4 * _PAUSE_S)
    record = {
        "schema": SCHEMA,
        "id": work.id,
        "task": work.job.kind,
        "seed": work.seed,
        "weights_sha256": sha256_file(source / WEIGHTS),
        "per_sample_sha256": digest(rows),
        "n": _SAMPLES,
        "metrics": {"mean": float(rows.mean())},
    }
    write_record(results, record, {"id": np.arange(_SAMPLES).astype(str), "score": rows})
    diary.note("wrote")
    time.sleep(2 * _PAUSE_S)  # the table is printed


def scores(work: Work, weights: Path) -> np.ndarray:
    """Returns the numbers of an evaluation: (n,), a function of the weights and the task."""
    from safetensors.numpy import load_file

    found = load_file(weights)
    inputs = numpy_stream(work.seed, work.job.kind).standard_normal((_SAMPLES, WIDTH))
    return np.asarray(((inputs @ found["audio.weight"].T) * (inputs @ found["visual.weight"].T)).sum(1))


def digest(rows: np.ndarray) -> str:
    """Returns the SHA-256 of the bits of an array."""
    return hashlib.sha256(rows.tobytes()).hexdigest()


def newest_checkpoint(folder: Path) -> int:
    """Returns the step of the newest checkpoint of a training; 0 where there is none."""
    found = (folder / "checkpoints").glob("step-*")
    return max((int(path.name.removeprefix("step-")) for path in found), default=0)

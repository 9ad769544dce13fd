"""Offset: is a frozen encoder in step with time? A frame is compared with the sound around it, moved by up to 2 s.

What the model hears is always sound of the clip, as long for every offset: nothing at its edges tells the offset.
Definition: docs/tasks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.changed import Change
from avbench.data.corpus.clips import Clips, hash_ids
from avbench.data.corpus.frames import eval_frame, moments
from avbench.data.corpus.pair import remembered
from avbench.errors import InputError
from avbench.metrics.evidence import Evidence, of_means
from avbench.metrics.evidence_intervals import intervals
from avbench.settings import Settings, setting
from avbench.tasks.base import JOINT, Outputs, Task, TaskCard, TaskResult

if TYPE_CHECKING:
    from avbench.config import InputConfig, RunConfig
    from avbench.store.features import Features
    from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

CARD = TaskCard(
    summary="is the encoder in step with time: cosine of a frame and the sound moved by -2 to 2 s, accuracy at 0",
    needs=("changed vectors",),
    modalities=("audio", "visual"),
    abilities=("embeddings",),
    columns=("accuracy", "near", "distance"),
    units={
        "accuracy": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "near": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "distance": {"symbol": "s", "digits": 3, "coarse": 2, "better": "lower"},
        "cosine": {"digits": 4, "coarse": 3},
    },
)
SHORTEST = 0.5  # seconds that are heard at least
ROUNDING = 0.005  # seconds by which a clip may seem shorter than its samples are
TIE = 1e-6  # cosines closer than this are equal: embeddings are float32


@dataclass(frozen=True, kw_only=True)
class OffsetConfig(Settings):
    """Options of offset."""

    range: float = setting(2.0, "largest offset, seconds, before and after", gt=0)
    offsets: int = setting(21, "how many, evenly from -range to range: an odd number, so that 0 is one", ge=3, le=201)
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            InputError: A wrong type, a value out of range, or an even number of offsets.
        """
        super().__post_init__()
        if self.offsets % 2 == 0:
            raise InputError(f"task.offsets: found {self.offsets}, valid: an odd number, so that 0 is one of them.")

    def seconds(self) -> Float64:
        """Returns the offsets, (offsets,) seconds, exact opposites of each other."""
        half = self.offsets // 2
        return np.arange(-half, half + 1, dtype=np.float64) * np.float64(self.range / half)


@dataclass(frozen=True)
class Moved(Change):
    """The sound around the judged frame, from ``offset`` seconds later on; the frame stays.

    Of methods that hear windows, the whole sound moves: the window around the frame stays inside the clip. Others hear
    a stretch that is centred on the frame at offset 0.

    Attributes:
        offset: Seconds.
        range: Largest offset, which the stretch leaves room for on both sides.
        inputs: What the method hears and sees.
    """

    offset: float
    range: float
    inputs: InputConfig

    def __str__(self) -> str:
        return f"{self.offset:+g} s"

    def waveform(self, clips: Clips, i: int) -> tuple[npt.NDArray[np.float32], int]:
        """Returns what is heard of clip ``i``, with zeros where that is in no window.

        Raises:
            InputError: It is too short for such offsets.
        """
        sound, rate = clips.waveform(i)
        shift, middle = round(self.offset * rate), min(max(0, round(self._centre(clips, i) * rate)), len(sound))
        half = min(middle, len(sound) - middle) - round(self.range * rate)
        if 2 * half < round(self._needed * rate):
            raise self._too_short(clips.ids[i], len(sound) / rate)
        if not self.inputs.segment_length:
            return sound[middle - half + shift : middle + half + shift], rate
        moved = np.zeros_like(sound)
        kept = sound[max(0, shift) : len(sound) + min(0, shift)]
        moved[max(0, -shift) : max(0, -shift) + len(kept)] = kept
        return moved, rate

    def check(self, clips: Clips) -> None:
        """Refuses clips that are too short, as far as that is known without decoding them.

        Raises:
            InputError: There are some.
        """
        short = remembered(clips, ("room", self.range, self.inputs), lambda: self._short(clips))
        if short:
            first = short[0]
            raise self._too_short(clips.ids[first], clips.duration(first), f" ({len(short)} of {len(clips)} clips)")

    def _short(self, clips: Clips) -> list[int]:
        durations = np.array([clips.duration(i) for i in range(len(clips))])
        centres = np.array([self._centre(clips, i) for i in range(len(clips))])
        room = 2 * (np.minimum(centres, durations - centres) - self.range)
        return np.flatnonzero(room < self._needed - ROUNDING).tolist()  # of unknown length: none

    def _centre(self, clips: Clips, i: int) -> float:
        """Returns the middle of what is heard at offset 0, seconds."""
        return (_window if self.inputs.segment_length else _time)(clips, i, self.inputs)

    @property
    def _needed(self) -> float:
        """How much is heard at least, seconds."""
        return self.inputs.segment_length * self.inputs.frame_shift_ms / 1000 or SHORTEST

    def _too_short(self, clip: str, seconds: float, several: str = "") -> InputError:
        return InputError(
            f"clip '{clip}': found {seconds:.2f} s of sound, valid with task.range={self.range:g}:"
            f" {2 * self.range + self._needed:.2f} s around the judged frame{several}; --set task.range=SECONDS."
        )

    def n_frames(self, clips: Clips, i: int) -> int:
        """Returns one, or all of which the judged one is chosen afterwards."""
        return clips.n_frames(i) if self.inputs.segment_length else 1

    def frame(self, clips: Clips, i: int, k: int) -> npt.NDArray[np.uint8]:
        """Returns the judged frame, or frame ``k`` of methods that hear windows around all.

        Args:
            clips: The clips.
            i: Which clip.
            k: Which of its frames.
        """
        return clips.frame(i, k if self.inputs.segment_length else eval_frame(clips, i, self.inputs))


def _window(clips: Clips, i: int, inputs: InputConfig) -> float:
    """Returns the middle of the window that is heard with the judged frame, seconds."""
    from avbench.data.feed.spectrogram import window_starts

    starts = window_starts(max(1, clips.n_frames(i)), inputs.target_length, inputs.segment_length)
    centre = starts[eval_frame(clips, i, inputs)] + inputs.segment_length / 2
    return float(centre * inputs.frame_shift_ms / 1000)


def _time(clips: Clips, i: int, inputs: InputConfig) -> float:
    """Returns when the judged frame is shown, seconds."""
    k, stored = eval_frame(clips, i, inputs), getattr(clips, "frame_times", None)
    times = stored(i) if stored is not None else []
    if len(times):
        return float(times[min(k, len(times) - 1)])
    return clips.duration(i) * (k + 0.5) / max(1, clips.n_frames(i))


class Offset(Task[OffsetConfig]):
    """Embeds every clip once for each offset, and asks at which one frame and sound are most alike."""

    name = "offset"
    version = 1
    config_type = OffsetConfig

    def spared(self, config: OffsetConfig) -> frozenset[str]:
        """Returns that it compares sounds and pictures alone."""
        return frozenset({JOINT})

    def changes(self, config: RunConfig) -> tuple[Moved, ...]:
        """Returns the offsets; see the base class."""
        options = cast(OffsetConfig, config.task)
        return tuple(Moved(each, options.range, config.input) for each in options.seconds().tolist())

    def run(self, subject: Subject, config: OffsetConfig) -> TaskResult:
        """Embeds and compares; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: A clip is too short.
            RunError: A clip cannot be read.
        """
        clips, inputs = subject.evaluated, subject.config.input
        found = []
        for change in self.changes(subject.config):
            found.append(_cosines(subject.on(change).embeddings(), clips, inputs))
        outputs = {"id": np.array(clips.ids, dtype=np.str_), "cosines": np.stack(found, axis=1)}
        evidence = self.evidence(outputs, config)
        return TaskResult(
            n=len(clips),
            ids_sha256=hash_ids(clips.ids),
            metrics=dict(evidence.values),
            chance=chance(config),
            ci95=intervals(evidence, self.name, resamples=config.resamples, seed=config.bootstrap_seed),
            per_sample=outputs,
        )

    def evidence(self, outputs: Outputs, config: OffsetConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        cosines, seconds = outputs["cosines"], config.seconds()
        return of_means(outputs["id"], {**judge(cosines, seconds), **curve(cosines, seconds)})


def _cosines(features: Features, clips: Clips, inputs: InputConfig) -> Float64:
    """Returns the cosine of each clip's judged frame and its sound, (n,), or what an encoder has in place of it."""
    if features.scores is not None:
        return np.asarray(features.scores.diagonal(), np.float64)
    rows = np.arange(len(clips))
    seen = np.array([(eval_frame(clips, i, inputs) + 0.5) / moments(clips, i) for i in rows.tolist()])
    heard = seen if inputs.segment_length else np.full(len(clips), 0.5)  # the stretch is centred on the frame
    audio, visual = (
        side[rows, np.minimum((when * side.shape[1]).astype(np.int64), side.shape[1] - 1)]  # a judged frame of its own
        for side, when in zip(features.pair, (heard, seen), strict=True)
    )
    return np.asarray(np.einsum("nd,nd->n", audio, visual, dtype=np.float64))


def judge(cosines: Float64, seconds: Float64) -> dict[str, Float64]:
    """Returns how far each clip's best offset is right, (n,) each; equal cosines are best with the same chance.

    Args:
        cosines: (n, offsets).
        seconds: (offsets,), 0 in the middle.

    Returns:
        ``accuracy``: the best is 0; ``near``: it is 0 or next to it; ``distance``: its distance from 0 in seconds.
    """
    best = cosines >= cosines.max(axis=1, keepdims=True) - TIE
    weights = best / best.sum(axis=1, keepdims=True)
    middle = len(seconds) // 2
    return {
        "accuracy": weights[:, middle],
        "near": weights[:, middle - 1 : middle + 2].sum(axis=1),
        "distance": weights @ np.abs(seconds),
    }


def curve(cosines: Float64, seconds: Float64) -> dict[str, Float64]:
    """Returns the cosines at each offset, (n,) each, keyed such as ``+0.2 s/cosine``."""
    return {f"{each:+g} s/cosine": cosines[:, k] for k, each in enumerate(seconds.tolist())}


def chance(config: OffsetConfig) -> dict[str, float]:
    """Returns what a best offset that is drawn at random gives."""
    seconds = config.seconds()
    return {
        "accuracy": 1 / len(seconds),
        "near": 3 / len(seconds),
        "distance": float(np.abs(seconds).mean()),
    }


CONFIG = OffsetConfig
TASK = Offset()

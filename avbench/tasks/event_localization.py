"""Event localization: what happens in each second of a clip, by a linear classifier on frozen vectors of that second.

AVE's supervised protocol (Tian et al., ECCV 2018): every second of a clip is of the clip's event or background, and the
share of right seconds counts. Definition: docs/tasks.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.events import Event, read_events
from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.seconds import SecondClips, frame_times, frames_in
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.metrics.evidence import Evidence, Mean
from avbench.metrics.evidence_intervals import intervals
from avbench.rng import numpy_stream
from avbench.settings import Settings, setting
from avbench.store.extracted import Pooled
from avbench.tasks import linear_probe
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult
from avbench.tasks.streams import STREAMS, Joint, of_pooled

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.subject import Part, Subject

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]

CARD = TaskCard(
    summary="what happens in each second: AVE's protocol, a linear classifier on frozen vectors of every second",
    needs=("vectors", "training vectors", "training clips", "annotations"),
    abilities=("vectors",),
    columns=("accuracy", "event", "background"),
    units={
        "accuracy": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "event": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "background": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
    },
)
BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True)
class EventLocalizationConfig(Settings):
    """Options of event localization."""

    annotations: str = setting("", "events in time: AVE's Annotations.txt, or a CSV id,label,start,end", identity=False)
    seconds: int = setting(10, "seconds of a clip that are judged", ge=1, le=3600)
    context: float = setting(1.0, "seconds of sound heard around the middle of each second; 1: that second alone", gt=0)
    joint: Joint = setting(
        "joint", "audio-visual vector: of the joint stream (paper), or those of the two single streams end to end"
    )
    weight_decays: tuple[float, ...] = setting((1e-4, 1e-3, 1e-2, 1e-1, 1.0), "weight decays to choose from", ge=0)
    iterations: int = setting(100, "maximum iterations of lbfgs", ge=1)
    validation_fraction: float = setting(0.2, "share of the training clips to choose with", gt=0, lt=1)
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            InputError: A wrong type, a value out of range, or nothing to choose from.
        """
        super().__post_init__()
        if not self.weight_decays:
            raise InputError("task.weight_decays: found none, valid: at least one value.")


@dataclass(frozen=True)
class _Samples:
    """Annotated clips of a split, and their events: of AVE, one a clip but for 45 of them.

    Attributes:
        clips: The clips, each once.
        ids: (n,) of the events; the clip's, and the label where the clip has several.
        rows: (n,) the clip of each.
        target: (n, seconds) class of each second; the last class is background.
    """

    clips: Clips
    ids: list[str]
    rows: Int64
    target: Int64


class EventLocalization(Task[EventLocalizationConfig]):
    """Trains one classifier a stream on all seconds of the training clips, and judges those of the others."""

    name = "event_localization"
    version = 1
    config_type = EventLocalizationConfig

    def check(self, config: RunConfig) -> None:
        """Refuses a run without annotations, or with ones that cannot be read."""
        options: Any = config.task
        if not options.annotations:
            raise InputError(
                "task.annotations: found nothing, valid: AVE's Annotations.txt or a CSV id,label,start,end."
            )
        read_events(Path(options.annotations))

    def framed(self, clips: Clips, config: RunConfig) -> Clips:
        """Returns the seconds of the annotated clips; of methods that hear windows around frames, these clips whole."""
        options = cast(EventLocalizationConfig, config.task)
        known = {event.clip for event in read_events(Path(options.annotations))}
        chosen = _chosen(clips, known)
        if config.input.segment_length:
            return chosen
        return SecondClips(_stored(chosen), options.seconds, options.context)

    def files(self, config: EventLocalizationConfig) -> dict[str, str]:
        """Returns the hash of the annotations: their path is not part of a run's identity."""
        return {"annotations": sha256_file(Path(config.annotations))} if config.annotations else {}

    def check_clips(self, train: Clips | None, evaluated: Clips, config: EventLocalizationConfig) -> None:
        """Refuses clips without events, or with too few frames; see the base class."""
        events = read_events(Path(config.annotations))
        classes = _classes(events)
        for clips, what in ((train, "training"), (evaluated, "evaluated")):
            if clips is not None:
                _samples(clips, events, classes, config.seconds, what)

    def run(self, subject: Subject, config: EventLocalizationConfig) -> TaskResult:
        """Trains and judges; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: Annotations or clips cannot be used.
            RunError: A clip cannot be read.
        """
        from avbench.training.probe import ProbeRecipe, fit

        events = read_events(Path(config.annotations))
        classes = _classes(events)
        train, judged = (
            _samples(clips, events, classes, config.seconds, what)
            for clips, what in ((subject.train, "training"), (subject.evaluated, "evaluated"))
        )
        recipe = ProbeRecipe(
            optimizer="lbfgs",
            sweep=config.weight_decays,
            iterations=config.iterations,
            epochs=1,
            batch_size=1,
            validation_fraction=config.validation_fraction,
        )
        known, found = (
            _vectors(subject, part, samples.clips, config)
            for part, samples in zip(linear_probe.PARTS, (train, judged), strict=True)
        )
        chosen_with = np.repeat(_held_out(train, config.validation_fraction, subject.config.seed), config.seconds)
        outputs: dict[str, Array] = {"id": np.array(judged.ids, np.str_), "target": _coded(judged.target, classes)}
        for stream, values in known.items():
            probe = fit(
                values[train.rows].reshape(-1, values.shape[-1]),
                train.target.reshape(-1),
                len(classes),
                recipe,
                seed=subject.config.seed,
                device=subject.device,
                progress=subject.progress,
                name=f"{stream} probe",
                chosen_with=chosen_with,
            )
            scores = probe.scores(found[stream][judged.rows].reshape(-1, values.shape[-1]))
            predicted = scores.argmax(axis=1).reshape(judged.target.shape)
            outputs[f"{stream}/predicted"] = _coded(predicted, classes)
        evidence = self.evidence(outputs, config)
        usual = np.full_like(judged.target, np.bincount(train.target.ravel()).argmax())
        chance = {name: mean.value for name, mean in _means(_coded(usual, classes), outputs["target"]).items()}
        return TaskResult(
            n=len(judged.ids),
            ids_sha256=hash_ids(judged.ids),
            metrics=dict(evidence.values),
            chance={key: chance[key.partition("/")[2]] for key in evidence.values},
            ci95=intervals(evidence, self.name, resamples=config.resamples, seed=config.bootstrap_seed),
            per_sample=outputs,
        )

    def evidence(self, outputs: Outputs, config: EventLocalizationConfig) -> Evidence:
        """Returns what the metrics are made of; see the base class."""
        means = {
            f"{name.partition('/')[0]}/{key}": mean
            for name, values in outputs.items()
            if name.endswith("/predicted")
            for key, mean in _means(values, outputs["target"]).items()
        }
        return Evidence(outputs["id"], {name: mean.value for name, mean in means.items()}, means)


def _means(predicted: Int64, target: Int64) -> dict[str, Mean]:
    """Returns the shares of right seconds: of all, of those with the event, and of background, as far as there are any.

    Args:
        predicted: (n, seconds) classes; background is -1.
        target: The same.
    """
    parts = {"accuracy": np.ones_like(target, np.bool_), "event": target >= 0, "background": target < 0}
    return {
        name: Mean(((predicted == target) & part).sum(axis=1, dtype=np.float64), part.sum(axis=1, dtype=np.float64))
        for name, part in parts.items()
        if part.any()
    }


def _coded(target: Int64, classes: tuple[str, ...]) -> Int64:
    """Returns classes as outputs have them: background is -1, however many classes there are."""
    return np.where(target == len(classes) - 1, -1, target)


def _classes(events: list[Event]) -> tuple[str, ...]:
    """Returns what may happen, sorted, and background, the last."""
    return (*sorted({event.label for event in events} - {BACKGROUND}), BACKGROUND)


def _samples(clips: Clips, events: list[Event], classes: tuple[str, ...], seconds: int, what: str) -> _Samples:
    """Returns the annotated ones of some clips, and their events.

    Raises:
        InputError: There are none, or they have fewer frames than seconds.
    """
    place = {name: row for row, name in enumerate(clips.ids)}
    own = [event for event in events if event.clip in place]
    if not own:
        raise InputError(
            f"task.annotations: none of {len(events)} events is in one of the {len(clips)} {what} clips; ids look like"
            f" '{events[0].clip}' and '{clips.ids[0]}'."
        )
    chosen = _chosen(clips, {event.clip for event in own})
    row_of = {name: row for row, name in enumerate(chosen.ids)}
    several = Counter(event.clip for event in own)
    code = {name: number for number, name in enumerate(classes)}
    target = np.full((len(own), seconds), len(classes) - 1, np.int64)
    for row, event in enumerate(own):
        target[row, [second for second in range(seconds) if event.during(second)]] = code[event.label]
    ids = [event.clip if several[event.clip] == 1 else f"{event.clip} {event.label}" for event in own]
    frames = _stored(chosen).n_frames(0)
    if 0 < frames < seconds:
        raise InputError(
            f"clip '{chosen.ids[0]}': found {frames} frames, valid: one a second, {seconds}; prepare the videos with"
            f" avbench data prepare --n-frames {seconds}, or judge fewer seconds with task.seconds."
        )
    return _Samples(chosen, ids, np.array([row_of[event.clip] for event in own]), target)


def _chosen(clips: Clips, known: set[str]) -> Clips:
    """Returns the clips with events, in their order."""
    kept = [row for row, name in enumerate(clips.ids) if name in known]
    return clips if len(kept) == len(clips) else clips.select(kept)


def _stored(clips: Clips) -> Clips:
    """Returns clips with all frames that are stored, not only those that the encoder looks at in a whole clip."""
    found: Clips = getattr(clips, "stored", clips)
    return found


def _held_out(samples: _Samples, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Returns which samples choose the weight decay, (n,): all of some clips, so that none is on both sides."""
    count = len(samples.clips)
    drawn = numpy_stream(seed, "events/validation").permutation(count)[: max(1, round(fraction * count))]
    return np.isin(samples.rows, drawn)


def _vectors(subject: Subject, part: Part, clips: Clips, config: EventLocalizationConfig) -> dict[str, Array]:
    """Returns vectors of each second by stream, (clips, seconds, D): of methods that hear windows, means of frames."""
    pooled = subject.pooled(part)
    if subject.config.input.segment_length:
        shown = [
            [frames_in(frame_times(clips, i), second) for second in range(config.seconds)] for i in range(len(clips))
        ]
        ids = [f"{name}@{second}" for name in clips.ids for second in range(config.seconds)]
        pooled = Pooled(ids, *(_of_frames(pooled.stream(stream), shown) for stream in STREAMS))
    found = of_pooled(pooled, subject.config.method_name, joint=config.joint)
    return {stream: values.reshape(len(clips), config.seconds, -1) for stream, values in found.items()}


def _of_frames(values: Array | None, shown: list[list[list[int]]]) -> Array | None:
    """Returns means over the frames of each second, (clips * seconds, 1, D), from (clips, F, D)."""
    if values is None:
        return None
    found = [values[row, frames].mean(axis=0) for row, seconds in enumerate(shown) for frames in seconds]
    return np.stack(found)[:, None]


CONFIG = EventLocalizationConfig
TASK = EventLocalization()

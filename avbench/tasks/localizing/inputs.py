"""What localization compares: which clip, frame and sound each annotated sample is."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.flickr import read_ids
from avbench.data.annotations.negatives import read_negatives
from avbench.data.annotations.read import read_annotations
from avbench.data.annotations.sample import Annotations, Sample
from avbench.data.annotations.soundshapes import MaskFile, read_soundshapes
from avbench.data.corpus.frames import eval_frame
from avbench.data.locate import EMBEDDED, locate
from avbench.errors import InputError
from avbench.rng import numpy_stream
from avbench.tasks.annotated import Annotated
from avbench.tasks.localizing import framing
from avbench.tasks.localizing.controls import BOXES

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.store.extracted import Tokens
    from avbench.tasks.localizing.options import LocalizationConfig
    from avbench.tasks.subject import Subject

Int64 = npt.NDArray[np.int64]
_LATE_S = 0.5  # a judged frame this far from the annotated time is mentioned
log = logging.getLogger("avbench")


@dataclass(frozen=True)
class Judged:
    """The samples whose clips are there; arrays are (n,).

    Attributes:
        annotations: The samples.
        tokens: Of all evaluated clips.
        seen: The evaluated clips, with frames as the model sees them or before they are cropped.
        clips: Row of each sample's picture among the evaluated clips.
        frames: Which of the clip's frames is judged.
        pictures: Where its patches are: clip times frames of the tokens, plus frame.
        sounds: Where its sound's vector is, likewise.
        aspects: Width over height of the pictures, where boxes move with the crop; else None.
    """

    annotations: Annotations
    tokens: Tokens
    seen: Clips
    clips: Int64
    frames: Int64
    pictures: Int64
    sounds: Int64
    aspects: npt.NDArray[np.float64] | None

    def wrong_sounds(self, seed: int) -> Int64 | None:
        """Returns another clip's sound for each sample, at the same frame; None where there is no other.

        Clips are exchanged along one random cycle, so that none keeps its own. Samples of one picture or clip get
        their sounds from one other; negatives keep theirs, which is wrong already.
        """
        members: dict[str, list[int]] = {}
        for row, sample in enumerate(self.annotations):
            if sample.truth is not None:
                members.setdefault(sample.picture, []).append(row)
        names = sorted(members)
        if len(names) < 2:
            return None
        order = numpy_stream(seed, "wrong_audio").permutation(len(names))
        found = self.sounds.copy()
        count = self.tokens.audio.shape[1]
        for mine, other in zip(order, np.roll(order, 1), strict=True):
            theirs = members[names[other]]
            for place, row in enumerate(members[names[mine]]):
                found[row] = self.sounds[theirs[place % len(theirs)]] // count * count + self.sounds[row] % count
        return found


def read(path: Path, config: LocalizationConfig) -> Annotations:
    """Reads annotations, of a subset and with negatives where the options name them.

    Raises:
        InputError: A file cannot be used.
    """
    found = read_annotations(
        path,
        None if config.protocol == "auto" else config.protocol,
        subset=Path(config.subset) if config.subset else None,
        rule=config.rasterisation,
    )
    return _with_negatives(found, config)


def _with_negatives(found: Annotations, config: LocalizationConfig) -> Annotations:
    if not config.negatives:
        return found
    if found.protocol not in BOXES:
        raise InputError(f"task.negatives: not used with {found.protocol}, valid with sets of boxes; leave it out.")
    return found.with_negatives(read_negatives(Path(config.negatives), time=found.samples[0].time))


def judged_samples(subject: Subject, config: LocalizationConfig) -> Judged:
    """Matches annotations and clips, and chooses frames.

    Raises:
        InputError: There are no annotations, none of an evaluated clip, or the frames do not suffice.
    """
    annotations, masks = _find(subject, config)
    if config.image == "stretch" and (annotations is None or annotations.protocol not in BOXES):
        raise InputError("task.image: found stretch, valid with masks: crop; they are cropped as the frames are.")
    clips, tokens = subject.evaluated, subject.tokens("evaluated")
    if masks is not None:
        wanted = set(read_ids(Path(config.subset))) if config.subset else None
        ids = [clip for clip in clips.ids if clip in masks and (wanted is None or clip in wanted)]
        row_of = {name: row for row, name in enumerate(clips.ids)}
        chosen = {name: _frame(subject, config, tokens, row_of[name], None) for name in ids}
        times = [_time(clips, row_of[name], chosen[name]) for name in ids]
        annotations = read_soundshapes(masks, ids, times)
    if annotations is None:
        raise InputError("task.annotations: found nothing, valid: an annotation file (docs/tasks.md, Localization).")
    rows = {name: row for row, name in enumerate(tokens.ids)}
    there, pictures, sounds = [], [], []
    for number, sample in enumerate(annotations):
        picture, sound = (_row(rows, sample.id, name) for name in (sample.picture_clip, sample.sound_clip))
        if picture is not None and sound is not None:
            there.append(number)
            pictures.append(picture)
            sounds.append(sound)
    if not there:
        raise InputError(
            f"task.annotations: none of {len(annotations)} samples is of an evaluated clip; ids look like"
            f" '{annotations.ids[0]}' and '{tokens.ids[0]}'."
        )
    log.info("%s: %d of %d annotated samples have their clips", annotations.protocol, len(there), len(annotations))
    kept = annotations.select(there)
    # One frame for all samples of the embedded set, whose masks are of the frame; elsewhere the annotated one.
    frames = np.array([_frame(subject, config, tokens, p, s.time) for p, s in zip(pictures, kept, strict=True)])
    _check_frames(kept, pictures, frames, clips)
    count = tokens.visual.shape[1]
    seen = np.minimum(frames, count - 1) if count > 1 else np.zeros_like(frames)
    if kept.protocol in BOXES:
        framing.check_frames(clips, pictures, frames, config)
    aspects = framing.aspects(clips, pictures, frames) if config.box_mapping == "crop" else None
    return Judged(
        kept,
        tokens,
        framing.framed(clips, config, subject.config.input.image_size),
        np.array(pictures),
        frames,
        np.array(pictures) * count + seen,
        np.array(sounds) * count + seen,
        aspects,
    )


def _find(subject: Subject, config: LocalizationConfig) -> tuple[Annotations | None, MaskFile | None]:
    """Returns annotations, or the masks of the embedded set, whose times depend on the clips' frames."""
    if config.annotations and not _masks(config):
        return read(Path(config.annotations), config), None
    if config.annotations:
        return None, MaskFile(Path(config.annotations))
    data = subject.config.data.judged
    if data.source in EMBEDDED and config.protocol in ("auto", "soundshapes"):
        videos = locate(data, subject.config.input).videos
        return None, None if videos is None else MaskFile(videos / "masks.npz")
    return None, None


def annotated(config: LocalizationConfig, ids: Collection[str]) -> Annotated | None:
    """Returns which clips the annotations are of; None where none are named, as with the embedded set.

    Args:
        config: The options.
        ids: Of the clips there are.

    Raises:
        InputError: A file cannot be used.
    """
    if not config.annotations:
        return None
    known = dict.fromkeys(ids, 0)
    if _masks(config):
        wanted = set(read_ids(Path(config.subset))) if config.subset else None
        names = [name for name in MaskFile(Path(config.annotations)).clips if wanted is None or name in wanted]
        found = [name for name in names if name in known]
        return Annotated(frozenset(found), len(names), len(names) - len(found), names[0] if names else "")
    samples = read(Path(config.annotations), config).samples
    clips: set[str] = set()
    missing = 0
    for sample in samples:
        named = [sample.id if sample.id in known else clip for clip in (sample.picture_clip, sample.sound_clip)]
        there = all(name in known for name in named)
        clips.update(named if there else ())
        missing += not there
    return Annotated(frozenset(clips), len(samples), missing, samples[0].id)


def _masks(config: LocalizationConfig) -> bool:
    """Returns whether annotations that are named are masks of the embedded set."""
    return config.protocol == "soundshapes" or config.annotations.endswith(".npz")


def _row(rows: Mapping[str, int], sample: str, clip: str) -> int | None:
    """Returns the row of the clip made for the sample alone, or else of the clip it is from."""
    return rows[sample] if sample in rows else rows.get(clip)


def _times(clips: Clips, row: int) -> npt.NDArray[np.float64] | None:
    """Returns when a clip's frames are shown, seconds; None where it is not known."""
    stored = getattr(clips, "frame_times", None)
    found = stored(row) if stored is not None else None
    if found is not None and len(found):
        return np.asarray(found, dtype=np.float64)
    count, duration = clips.n_frames(row), clips.duration(row)
    return np.arange(count) * duration / count if count and np.isfinite(duration) else None


def _time(clips: Clips, row: int, frame: int) -> float:
    times = _times(clips, row)
    return float(times[min(frame, len(times) - 1)]) if times is not None else 0.0


def _frame(subject: Subject, config: LocalizationConfig, tokens: Tokens, row: int, time: float | None) -> int:
    """Returns which frame of a clip is judged.

    Of methods that see one frame that one; of others the one asked for, or the one shown nearest to the annotated
    time, or where no time is known the one a single-frame method would see in the embedded set, the middle elsewhere.
    """
    if tokens.visual.shape[1] == 1:
        return eval_frame(subject.evaluated, row, subject.config.input)
    count = min(max(1, subject.evaluated.n_frames(row)), tokens.visual.shape[1])
    if config.frame >= tokens.visual.shape[1]:
        raise InputError(f"task.frame: found {config.frame}, valid: -1 to {tokens.visual.shape[1] - 1}.")
    if config.frame >= 0:
        return int(min(config.frame, count - 1))
    if subject.config.data.judged.source in EMBEDDED:
        return int(min(eval_frame(subject.evaluated, row, subject.config.input), count - 1))
    times = _times(subject.evaluated, row)
    return count // 2 if time is None or times is None else int(np.abs(times[:count] - time).argmin())


def _check_frames(annotations: Annotations, pictures: Sequence[int], frames: Int64, clips: Clips) -> None:
    """Refuses samples of several times that would get one frame, and mentions frames far from their times.

    Raises:
        InputError: There are such samples.
    """
    late = 0
    seen: dict[tuple[int, int], Sample] = {}
    for sample, row, frame in zip(annotations, pictures, frames.tolist(), strict=True):
        other = seen.setdefault((row, frame), sample)
        if sample.time is None:
            continue
        if other.time != sample.time:
            raise InputError(
                f"{annotations.protocol}: samples {other.id} and {sample.id} are of different times, and one frame of"
                " their clip is seen; prepare more frames, or one clip a sample (its id as the clip's)."
            )
        times = _times(clips, row)
        late += times is not None and abs(times[frame] - sample.time) > _LATE_S
    if late:
        log.warning(
            "%d of %d judged frames are more than %g s from their annotation; see input.eval_frame and --n-frames",
            late,
            len(frames),
            _LATE_S,
        )

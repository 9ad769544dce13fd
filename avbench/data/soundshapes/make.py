"""The embedded set as files: videos, labels, masks, a preview."""

from __future__ import annotations

import csv
import dataclasses
import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from avbench.data.progress import Progress
from avbench.data.soundshapes.factors import (
    DURATION,
    FPS,
    SHAPES,
    SIZE,
    SPLITS,
    Factors,
    clip_factors,
    clip_id,
)
from avbench.data.soundshapes.picture import frame_times
from avbench.data.soundshapes.worker import Made, Order, finish
from avbench.errors import InputError
from avbench.files import Damaged, atomic_path, read_json, write_sealed, write_text
from avbench.files.unwritten import amount, free

_IDENTITY = "soundshapes.json"
_BYTES_PER_CLIP = 80_000  # on disk, mask included
# Factors that are no column of their own, and those that the first version has not.
_LEFT_OUT, _NEW = ("version", "seed", "split", "index", "silent"), ("glide", "fall")


def make(
    out: Path,
    *,
    train: int,
    tune: int,
    test: int,
    seed: int,
    version: int = 1,
    workers: int = -1,
    progress: bool = True,
) -> Path:
    """Writes the set; what an earlier, interrupted call with the same seed left is kept.

    In ``out``: ``videos/SPLIT_INDEX.mp4``; ``labels.csv`` with file, label, split and the factors, as ``avbench data
    prepare`` reads it; ``masks.npz`` with ``times`` (frames,) in seconds and, per clip id, the sounding object's mask
    in each frame, uint8 (frames, H, W / 8), to be read with ``numpy.unpackbits(..., axis=-1)``; ``preview.png``; and
    ``soundshapes.json``, which is complete when its ``complete`` is true.

    Args:
        out: Folder; made where it does not exist.
        train: Training clips.
        tune: Clips to choose settings with.
        test: Test clips.
        seed: Of the set; the clips of a smaller set are the first ones of a larger set.
        version: Of the set.
        workers: Processes; -1: one per core.
        progress: Say how far it is.

    Returns:
        ``out``.

    Raises:
        InputError: No clips are asked for, or ``out`` holds another set or is no folder, or the disk is too small.
        RunError: A process failed.
    """
    counts = {"train": train, "tune": tune, "test": test}
    _check_counts(counts)
    identity = {"name": "soundshapes", "version": version, "seed": seed}
    if _begin(out, identity, counts):
        return out
    jobs = [Order(seed, split, index, version) for split in SPLITS for index in range(counts[split])]
    videos = out / "videos"
    write_sealed(out / _IDENTITY, {**identity, "clips": counts, "complete": False})
    videos.mkdir(exist_ok=True)  # after what says whose it is: a call that ends between them is resumed, too
    with ExitStack() as stack:
        bar = stack.enter_context(Progress("soundshapes", len(jobs), unit="clip", enabled=progress))
        temporary = stack.enter_context(atomic_path(out / "masks.npz"))
        _write_masks(temporary, _counted(finish(jobs, videos, workers), bar))
    from avbench.data.soundshapes.preview import contact_sheet

    clips = [clip_factors(job.seed, job.split, job.index, job.version) for job in jobs]
    write_text(out / "labels.csv", _labels(clips))
    with atomic_path(out / "preview.png") as temporary:
        contact_sheet(_varied(clips)).save(temporary, format="png")
    done = {"clips": counts, "complete": True, "seconds": DURATION, "frames_per_second": FPS, "pixels": SIZE}
    write_sealed(out / _IDENTITY, {**identity, **done})
    return out


def _check_counts(counts: dict[str, int]) -> None:
    for split, count in counts.items():
        if count < 0:
            raise InputError(f"{split} clips: found {count}, valid: 0 or more.")
    if not any(counts.values()):
        raise InputError("clips: found 0 in all splits, valid: at least one clip.")


def _begin(out: Path, identity: dict[str, object], counts: dict[str, int]) -> bool:
    """Checks the folder before anything is written; returns whether the set is there already."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: found a file, valid: a folder.")
    record = out / _IDENTITY
    if record.exists():
        try:
            found = read_json(record)
            same = all(found[key] == value for key, value in identity.items())
        except (Damaged, KeyError, TypeError):
            raise InputError(f"{record}: found no record of a set, valid: an empty folder; name another.") from None
        if not same:
            raise InputError(
                f"{out}: found the set of version {found['version']}, seed {found['seed']}, asked for version "
                f"{identity['version']}, seed {identity['seed']}; name another folder."
            )
        if found.get("complete") and found.get("clips") == counts and _all_there(out, counts):
            return True
    elif out.exists() and any(path.suffix != ".tmp" for path in out.iterdir()):
        raise InputError(f"{out}: found other files in it, valid: an empty or new folder; name another.")
    need, room = sum(counts.values()) * _BYTES_PER_CLIP, free(out)
    if need > room and not record.exists():
        sizes = f"found {amount(room)} free, needed: {amount(need)}"
        raise InputError(f"{out}: {sizes}; make room or fewer clips, or name another folder.")
    return False


def _all_there(out: Path, counts: dict[str, int]) -> bool:
    have = {path.name for path in (out / "videos").glob("*.mp4")}
    files = (f"{clip_id(split, index)}.mp4" for split in SPLITS for index in range(counts[split]))
    return all((out / name).exists() for name in ("labels.csv", "masks.npz")) and all(name in have for name in files)


def _counted(made: Iterable[Made], bar: Progress) -> Iterator[Made]:
    for clip in made:
        yield clip
        bar.step()


def _write_masks(path: Path, made: Iterable[Made]) -> None:
    """Writes an npz member by member, so that memory does not grow with the set."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:

        def add(name: str, array: np.ndarray) -> None:
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            # A fixed date, so that equal sets are equal files.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 1)

        add("times", frame_times())
        for clip in made:
            add(clip.id, clip.mask)


def _varied(clips: list[Factors]) -> list[Factors]:
    """Returns the first two clips of each shape."""
    of_shape = [[clip for clip in clips if clip.shape == shape][:2] for shape in range(len(SHAPES))]
    return [clip for chosen in of_shape for clip in chosen]


def _labels(clips: list[Factors]) -> str:
    without = _LEFT_OUT + (_NEW if clips[0].version == 1 else ())
    columns = [field.name for field in dataclasses.fields(Factors) if field.name not in without]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "label", "split", *columns])
    for clip in clips:
        values = [getattr(clip, column) for column in columns]
        written = [f"{value:.6g}" if isinstance(value, float) else int(value) for value in values]
        writer.writerow([f"videos/{clip.id}.mp4", clip.label, clip.split, *written])
    return buffer.getvalue()

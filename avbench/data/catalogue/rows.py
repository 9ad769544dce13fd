"""Official lists of clips, one reader a format, read into rows of one form."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from avbench.data.catalogue.entry import DataSet, ListFile
from avbench.data.catalogue.one_modality_rows import esc50, fsd50k, ucf101
from avbench.data.catalogue.reading import SPLITS, AnnotationRow, Reading
from avbench.errors import InputError


def _audioset(reading: Reading) -> Iterator[AnnotationRow]:
    """``YTID, start, end, "mid,mid"`` below comment lines."""
    # Two million rows have far fewer combinations of labels.
    names = functools.cache(lambda text: tuple(reading.entry.class_name(mid) for mid in text.split(",") if mid))
    for line, cells in reading.table():
        if len(cells) != 4:
            raise reading.bad(line, ",".join(cells), 'YTID, start, end, "labels"')
        yield AnnotationRow(cells[0], reading.split, names(cells[3]), cells[0], reading.number(line, cells[1]))


def _vggsound(reading: Reading) -> Iterator[AnnotationRow]:
    """``YTID,start,label,split``, or ``YTID_SSSSSS.mp4,label``."""
    names = functools.cache(reading.entry.class_name)
    for line, cells in reading.table():
        if len(cells) == 4:
            start = reading.number(line, cells[1])
            split = reading.split_of(line, cells[3])
            yield AnnotationRow(f"{cells[0]}_{int(start):06d}", split, (names(cells[2]),), cells[0], start)
        elif len(cells) == 2:
            id = cells[0].removesuffix(".mp4")
            video, start = _second(id)
            yield AnnotationRow(id, reading.split, (names(cells[1]),), video, start)
        else:
            raise reading.bad(line, ",".join(cells), "YTID,start,label,split or YTID_SSSSSS.mp4,label")


def _second(id: str) -> tuple[str, float]:
    """Splits ``YTID_START`` and ``YTID_START_END``; the YouTube id itself may hold ``_``."""
    video, start = id[:11], id[12:].split("_")[0]
    return (video, float(start)) if start.isdecimal() and id[11:12] == "_" else (id, math.nan)


def _kinetics(reading: Reading) -> Iterator[AnnotationRow]:
    """``{"database": {id: {"subset", "label"}}}``; labels may be below ``annotations``."""
    # The official validation part is what results are reported on; there is no other test part.
    split = {"training": "train", "validation": "test", "testing": "test"}
    for id, item in reading.json()["database"].items():
        label = item.get("annotations", item)["label"]
        video, start = _second(id)
        yield AnnotationRow(id, split[item["subset"]], (reading.entry.class_name(label),), video, start)


def _msrvtt(reading: Reading) -> Iterator[AnnotationRow]:
    """A CSV with the column ``video_id``; the other columns are captions."""
    for _, row in reading.named("video_id"):
        yield AnnotationRow(row["video_id"], reading.split, (), row["video_id"])


def _vggss(reading: Reading) -> Iterator[AnnotationRow]:
    """``[{"file": id, "class": name, "bbox": ...}]``."""
    for item in reading.json():
        video, start = _second(item["file"])
        yield AnnotationRow(item["file"], reading.split, (reading.entry.class_name(item["class"]),), video, start)


def _vggsounder(reading: Reading) -> Iterator[AnnotationRow]:
    """A CSV with video_id and label, a row a label."""
    for _, row in reading.named("video_id", "label"):
        video, start = _second(row["video_id"])
        yield AnnotationRow(row["video_id"], reading.split, (reading.entry.class_name(row["label"]),), video, start)


def _flickr(reading: Reading) -> Iterator[AnnotationRow]:
    """``ID``, ``ID.jpg`` or ``ID,first frame``, one a line."""
    for _, cells in reading.table():
        id = cells[0].removesuffix(".jpg")
        yield AnnotationRow(id, reading.split, (), id, picture=id, sound=id)


def _is3(reading: Reading) -> Iterator[AnnotationRow]:
    """``[{"image": path, "audio": path, "gt_box": ...}]``."""
    for item in reading.json():
        id = PurePosixPath(item["image"]).stem
        yield AnnotationRow(
            id, reading.split, (id.rpartition("_")[2],), id, picture=id, sound=PurePosixPath(item["audio"]).stem
        )


def _avsbench(reading: Reading) -> Iterator[AnnotationRow]:
    """``CLIP_K,categories``, K from 1 to 5; or clips, of which the test ones are taken.

    Those are ``name,category,split`` in S4 and ``name,split`` in MS3, whose clips are of no class.
    """
    for line, cells in reading.table():
        if len(cells) == 3 or (len(cells) == 2 and cells[1] in ("split", *SPLITS)):
            clip = cells[0]
            samples = [f"{clip}_{k}" for k in range(1, 6)] if cells[-1] == "test" else []
        elif len(cells) == 2:
            clip, samples = cells[0].rpartition("_")[0], [cells[0]]
        else:
            raise reading.bad(line, ",".join(cells), "CLIP_K,category or name[,category],split")
        for sample in samples:
            labels = (reading.entry.class_name(cells[1]),) if reading.entry.classes else ()
            yield AnnotationRow(sample, reading.split, labels, sample, picture=sample, sound=clip)


def _ave(reading: Reading) -> Iterator[AnnotationRow]:
    """``category&YTID&quality&start&end``; the times are of the event in the clip, not of the clip in the video."""
    for line, cells in reading.table("&"):
        if len(cells) < 2:
            raise reading.bad(line, "&".join(cells), "category&YTID&quality&start&end")
        if cells[1] != "VideoID":
            yield AnnotationRow(cells[1], reading.split, (reading.entry.class_name(cells[0]),), cells[1])


def _ade20k(reading: Reading) -> Iterator[AnnotationRow]:
    """A CSV with image_location, vggsound_file and ade_class_id; rows without a prompt or of class 0 do not count."""
    times: Counter[str] = Counter()
    for line, row in reading.named("image_location", "vggsound_file", "ade_class_id"):
        number = int(reading.number(line, row["ade_class_id"] or "0"))
        if number and row["vggsound_file"]:
            picture, sound = (PurePosixPath(row[key]).stem for key in ("image_location", "vggsound_file"))
            id = f"{picture}_{number}"
            times[id] += 1
            if times[id] > 1:  # the same class of the same picture, with another prompt
                id = f"{id}_{times[id]}"
            yield AnnotationRow(id, reading.split, (), id, picture=picture, sound=sound)


def _manifest(reading: Reading) -> Iterator[AnnotationRow]:
    """The authors' manifest, ``{"data": [{"video_id", "labels", ...}]}`` (docs/protocol/cavmae.md 2.1)."""
    for item in reading.json()["data"]:
        video, start = _second(item["video_id"])
        names = (reading.entry.class_name(mid) for mid in item.get("labels", "").split(",") if mid)
        yield AnnotationRow(item["video_id"], reading.split, tuple(names), video, start)


READERS: dict[str, Callable[[Reading], Iterator[AnnotationRow]]] = {
    "audioset": _audioset,
    "vggsound": _vggsound,
    "kinetics": _kinetics,
    "msrvtt": _msrvtt,
    "vggss": _vggss,
    "vggsounder": _vggsounder,
    "flickr": _flickr,
    "is3": _is3,
    "avsbench": _avsbench,
    "ave": _ave,
    "ade20k": _ade20k,
    "manifest": _manifest,
    "esc50": esc50,
    "ucf101": ucf101,
    "fsd50k": fsd50k,
}
_ORDER = ("", "train", "tune", "test")


def read_rows(entry: DataSet, lists: Sequence[tuple[ListFile, Path]]) -> dict[str, AnnotationRow]:
    """Reads official lists.

    A clip that is listed more than once has all of its labels, and the last of its splits in the order train, tune,
    test: a test clip never trains.

    Args:
        entry: The data set.
        lists: What each file is, and the file.

    Returns:
        Id to row, in the order of the lists.

    Raises:
        InputError: A file cannot be read, is something else, or names a class that is none of the set's.
    """
    rows: dict[str, AnnotationRow] = {}
    for which, path in lists:
        for row in _read(entry, which.format, which.split, path, which.fold):
            before = rows.get(row.id)
            if before is not None:
                split = max(before.split, row.split, key=_ORDER.index)
                labels = (*before.labels, *(label for label in row.labels if label not in before.labels))
                pairs = zip(before.folds, row.folds, strict=True)
                folds = tuple(max(pair, key=_ORDER.index) for pair in pairs)
                row = before._replace(split=split, labels=labels, folds=folds)
            rows[row.id] = row
    return rows


def read_ids(entry: DataSet, format: str, path: Path) -> list[str]:
    """Returns the ids of a list, in its order.

    Args:
        entry: The data set.
        format: How the list is written.
        path: The list.

    Raises:
        InputError: As :func:`read_rows`.
    """
    return list(dict.fromkeys(row.id for row in _read(entry, format, "", path)))


def _read(entry: DataSet, format: str, split: str, path: Path, fold: int = 0) -> Iterator[AnnotationRow]:
    count = 0
    try:
        for row in READERS[format](Reading(path, entry, split, fold)):
            count += 1
            yield row
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); valid: a list of {entry.title}.") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise InputError(
            f"{path}: not a list of {entry.title} ({reason}), valid: one of the form '{format}', see docs/catalogue.md."
        ) from None
    if not count:
        raise InputError(f"{path}: found no clip, valid: a list of {entry.title}.")

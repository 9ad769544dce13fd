"""Finds out whose annotations a file or folder holds, and reads them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from avbench.data.annotations.ade20k import CSV, read_ade20k
from avbench.data.annotations.avsbench import read_avsbench
from avbench.data.annotations.boxes import Rule
from avbench.data.annotations.flickr import read_flickr, read_ids
from avbench.data.annotations.is3 import read_is3
from avbench.data.annotations.json_file import read_json
from avbench.data.annotations.sample import Annotations
from avbench.data.annotations.soundshapes import read_soundshapes
from avbench.data.annotations.vggss import read_vggss
from avbench.errors import InputError, unknown

Name = Literal["soundshapes", "vggss", "flickr", "is3", "avsbench", "ade20k"]

NAMES: tuple[Name, ...] = get_args(Name)
_VALID = "boxes of VGG-SS, Flickr-SoundNet, IS3 or AVSBench, masks of AVSBench, ADE20K or soundshapes"


def detect(path: Path) -> Name:
    """Tells whose annotations these are, from names and keys.

    Raises:
        InputError: There is nothing, or something else.
    """
    if path.is_dir():
        if (path / CSV).exists():
            return "ade20k"
        if any(path.glob("*.xml")):
            return "flickr"
        if any(path.rglob("*.png")):
            return "avsbench"
    elif path.suffix == ".npz":
        return "soundshapes"
    elif path.suffix == ".json" or path.is_file():
        found = read_json(path)
        if isinstance(found, dict) and all(_is_boxes(value) for value in list(found.values())[:1]):
            return "flickr"
        first = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
        if {"file", "bbox"} <= set(first):
            return "vggss"
        if {"image", "audio", "gt_box"} <= set(first):
            # IS3 has a sound file of the picture's own name, AVSBench one for five pictures.
            same = PurePosixPath(str(first["image"])).stem == PurePosixPath(str(first["audio"])).stem
            return "is3" if same else "avsbench"
    else:
        raise InputError(f"{path}: no such file or folder; valid: {_VALID}.")
    raise InputError(f"{path}: found no annotations that are known, valid: {_VALID}.")


def _is_boxes(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(box, (list, int, float)) for box in value)


def read_annotations(
    path: Path, name: Name | None = None, *, subset: Path | None = None, rule: Rule = "ez"
) -> Annotations:
    """Reads annotations of any of the known sets.

    Args:
        path: The file or folder.
        name: Whose they are; None: found out.
        subset: A text file with one sample id a line: only these, in this order; None: all.
        rule: How VGG-SS's boxes become pixels; see :func:`avbench.data.annotations.boxes.to_pixels`.

    Raises:
        InputError: They cannot be read, or the subset names others.
    """
    name = name or detect(path)
    try:
        if name == "flickr":
            return read_flickr(path, None if subset is None else read_ids(subset))
        found = _read(path, name, rule)
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    if subset is None:
        return found
    place = {each: row for row, each in enumerate(found.ids)}
    wanted = read_ids(subset)
    missing = [each for each in wanted if each not in place]
    if missing:
        raise InputError(f"{subset}: {len(missing)} of {len(wanted)} ids have no annotation, such as {missing[0]}.")
    return found.select([place[each] for each in wanted])


def _read(path: Path, name: Name, rule: Rule) -> Annotations:
    if name == "vggss":
        return read_vggss(path, rule=rule)
    if name == "is3":
        return read_is3(path)
    if name == "avsbench":
        return read_avsbench(path)
    if name == "ade20k":
        return read_ade20k(path)
    if name == "soundshapes":
        return read_soundshapes(path)
    raise unknown("annotations", name, NAMES)

"""AVSBench S4 and MS3: five frames of each test clip, as boxes or as masks (docs/protocol/cavmae_sync.md 5.4).

Boxes: a JSON list of ``{"image": .../CLASS/CLIP/CLIP_K.png, "audio": .../CLIP.wav, "gt_box": [...]}`` in 224 pixels.
Masks: the folder of ``CLASS/CLIP/CLIP_K.png`` (S4) or ``SPLIT/CLIP/CLIP_K.png`` (MS3, without classes), white where it
sounds: in MS3 one or several objects, or none. K counts the clip's seconds from 1; which instant
of it was annotated is not documented, and we take its middle.
"""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath

from avbench.data.annotations.boxes import Boxes, read_boxes
from avbench.data.annotations.json_file import read_entries
from avbench.data.annotations.mask_files import MaskPicture
from avbench.data.annotations.sample import Annotations, Sample, Truth
from avbench.errors import InputError

_NO_CLASSES = ("gt_masks", "train", "val", "test")  # folders above MS3's clips
SIZE = 224  # side of the maps, and of the picture that the boxes are in


def read_avsbench(path: Path) -> Annotations:
    """Reads boxes (a JSON file; protocol ``avsbench_boxes``) or masks (a folder; protocol ``avsbench``).

    Raises:
        InputError: The file or folder is missing or something else.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.png"))
        if not files:
            raise InputError(f"{path}: found no .png file, valid: the folder of CLASS/CLIP/CLIP_K.png.")
        return Annotations("avsbench", [_sample(path, file, MaskPicture(file)) for file in files], SIZE)
    samples = []
    for entry in read_entries(path, ("image", "audio", "gt_box")):
        name = PurePosixPath(str(entry["image"]))
        box = read_boxes(f"{path}: {name.stem}: gt_box", entry["gt_box"])
        samples.append(_sample(path, name, Boxes(box, scale=SIZE)))
    return Annotations("avsbench_boxes", samples, SIZE)


def _sample(source: Path, name: PurePath, truth: Truth) -> Sample:
    clip, _, number = name.stem.rpartition("_")
    if not clip or not number.isdecimal():
        raise InputError(f"{source}: found {name.name}, valid: names such as CLIP_1.png, the frame's number last.")
    label = name.parent.parent.name if len(name.parts) > 2 else ""
    label = "" if label in _NO_CLASSES else label
    # The middle of second K of the clip.
    return Sample(id=name.stem, truth=truth, visual=clip, label=label, time=int(number) - 0.5, group=clip)

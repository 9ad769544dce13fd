"""IS3: synthetic pictures with two sources each, one sound a sample (docs/protocol/cavmae_sync.md 5.4).

A JSON list of ``{"image": path, "audio": path, "gt_box": [left, top, right, bottom]}`` in a 224-pixel picture; names
are ``FIRST_SECOND_NUMBER_SOUNDING``. The clip of a sample has the picture's name, without folder and suffix.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from avbench.data.annotations.boxes import Boxes, read_boxes
from avbench.data.annotations.json_file import read_entries
from avbench.data.annotations.sample import Annotations, Sample
from avbench.errors import InputError

SIZE = 224  # side of the maps, and of the picture that the boxes are in


def read_is3(path: Path) -> Annotations:
    """Reads IS3's boxes.

    Raises:
        InputError: The file is missing or something else.
    """
    samples = []
    for entry in read_entries(path, ("image", "audio", "gt_box")):
        name = PurePosixPath(str(entry["image"])).stem
        picture, _, label = name.rpartition("_")
        if not picture:
            raise InputError(f"{path}: found image {entry['image']}, valid: names such as FIRST_SECOND_12_SECOND.jpg.")
        boxes = Boxes(read_boxes(f"{path}: {name}: gt_box", entry["gt_box"]), scale=SIZE)
        samples.append(Sample(id=name, truth=boxes, label=label, group=picture))
    return Annotations("is3", samples, SIZE)

"""VGG-SS: boxes of sounding objects in one frame of 5,158 VGGSound test clips (docs/protocol/cavmae_sync.md 5.2).

A JSON list of ``{"file": "YOUTUBEID_SECOND", "class": name, "bbox": [[left, top, right, bottom], ...]}`` in fractions
of the frame at 5 s. Some are negative, above 1 or degenerate; two samples have no ground truth left; they stay.
"""

from __future__ import annotations

from pathlib import Path

from avbench.data.annotations.boxes import Boxes, Rule, read_boxes
from avbench.data.annotations.json_file import read_entries
from avbench.data.annotations.sample import Annotations, Sample

SIZE = 224  # side of the maps that are compared, pixels
TIME = 5.0  # seconds: the 125th frame at 25 frames a second


def vggsound_name(name: str) -> str:
    """Returns a VGGSound class as the official list has it: 23 names are also found with '_' where it has ','."""
    return name.strip().replace("_ ", ", ")


def read_vggss(path: Path, *, rule: Rule = "ez") -> Annotations:
    """Reads VGG-SS.

    Args:
        path: vggss.json.
        rule: How boxes become pixels; see :func:`avbench.data.annotations.boxes.to_pixels`.

    Raises:
        InputError: The file is missing or something else.
    """
    samples = [
        Sample(
            id=str(entry["file"]),
            truth=Boxes(read_boxes(f"{path}: {entry['file']}: bbox", entry["bbox"]), rule=rule),
            label=vggsound_name(str(entry["class"])),
            time=TIME,
        )
        for entry in read_entries(path, ("file", "class", "bbox"))
    ]
    return Annotations("vggss", samples, SIZE)

"""Flickr-SoundNet: boxes of up to three and more annotators over one picture a clip (docs/protocol/cavmae_sync.md 5.3).

Coordinates are in a 256-pixel picture. Each box counts half, two or more over a pixel count whole (consensus). Two
forms are read: a JSON object of id to list of boxes, and the folder of XML files, one a picture.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from avbench.data.annotations.boxes import Boxes, read_boxes
from avbench.data.annotations.json_file import read_json
from avbench.data.annotations.sample import Annotations, Sample
from avbench.errors import InputError

SIZE = 224  # side of the maps that are compared, pixels
SCALE = 256.0  # coordinates of the boxes


def read_flickr(path: Path, ids: Sequence[str] | None = None) -> Annotations:
    """Reads boxes of Flickr-SoundNet.

    Args:
        path: A JSON file, or the folder of XML files.
        ids: The samples wanted, in this order, such as the list of 250 test pictures; None: all, sorted.

    Raises:
        InputError: The file is missing or something else, or an id has no boxes.
    """
    boxes = _from_folder(path) if path.is_dir() else _from_json(path)
    chosen = sorted(boxes) if ids is None else list(ids)
    missing = [name for name in chosen if name not in boxes]
    if missing:
        raise InputError(f"{path}: no boxes for {len(missing)} of {len(chosen)} ids, such as {missing[0]}.")
    draw = functools.partial(Boxes, scale=SCALE, consensus=True)
    return Annotations("flickr", [Sample(id=name, truth=draw(boxes[name])) for name in chosen], SIZE)


def read_ids(path: Path) -> list[str]:
    """Reads a list of test pictures: one a line, ``ID``, ``ID.jpg`` or ``ID,first frame``.

    Raises:
        InputError: The file is missing or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        raise InputError(f"{path}: cannot be read; valid: a text file with one id a line.") from None
    found = [line.partition(",")[0].removesuffix(".jpg") for line in lines]
    if not found:
        raise InputError(f"{path}: found no id, valid: one a line.")
    return found


def _from_json(path: Path) -> dict[str, list[list[float]]]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {type(found).__name__}, valid: an object of picture id to list of boxes.")
    return {str(name): read_boxes(f"{path}: {name}", boxes) for name, boxes in found.items()}


def _from_folder(folder: Path) -> dict[str, list[list[float]]]:
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise InputError(f"{folder}: found no .xml file, valid: the annotation folder, one XML file a picture.")
    return {file.stem: _from_xml(file) for file in files}


class _Plain(ElementTree.TreeBuilder):
    """Builds the tree of a file without a document type, which could define entities that grow or read other files."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        """Refuses it, before anything of it is used."""
        raise ValueError(f"found the document type {name}, valid: none")


def _from_xml(path: Path) -> list[list[float]]:
    """Returns the boxes of one file: each bbox holds something to skip, then four whole numbers."""
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Plain())).getroot()
        return read_boxes(str(path), [[int(edge.text or "") for edge in box[1:5]] for box in root.findall("./*/bbox")])
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}); valid: bbox elements with four whole numbers.") from None

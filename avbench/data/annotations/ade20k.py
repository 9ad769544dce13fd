"""ADE20K Sound and Speech Prompted: a scene, a sound or word, the pixels of its class.

Source: docs/protocol/cavmae_sync.md 5.1.

The folder has ``prompted_segmentation.csv`` (image_location, vggsound_file or speech_prompt_file, ade_class_id, timing)
and ADE20K's label pictures: the image's path with ``.jpg`` as ``_seg.png``. A sample's id, and that of its clip, is
``IMAGE_CLASS``: the picture's name and the class number.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.mask_files import read_picture
from avbench.data.annotations.sample import Annotations, Sample
from avbench.data.corpus.csv_file import read_named
from avbench.errors import InputError

SIZE = 224  # side of the maps, pixels
log = logging.getLogger("avbench")
CSV = "prompted_segmentation.csv"
SOUND, SPEECH = PROMPTS = ("vggsound_file", "speech_prompt_file")
FOLDERS = ("annotations", "frames", ".")  # where the label pictures are looked for


class ClassMask:
    """The ground truth of one class in a label picture: class = red // 10 * 256 + green."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number

    def __call__(self, size: int, aspect: float) -> npt.NDArray[np.float32]:
        """Draws it; see :data:`avbench.data.annotations.sample.Truth`. The file has its own shape."""
        picture = read_picture(self.path, size)
        if picture.ndim != 3 or picture.shape[2] < 2:
            raise InputError(f"{self.path}: found shape {picture.shape}, valid: an RGB picture of ADE20K classes.")
        classes = picture[..., 0].astype(np.int64) // 10 * 256 + picture[..., 1]
        return np.asarray(classes == self.number, dtype=np.float32)


def read_ade20k(folder: Path) -> Annotations:
    """Reads the prompts; rows without a prompt or with class 0 are left out, as in the reference.

    Raises:
        InputError: The CSV is missing or lacks a column, or a class is no number.
    """
    path = folder / CSV
    rows = [row for _, row in read_named(path, f"the folder that holds {CSV}")[1]]
    prompt = next((name for name in PROMPTS if rows and name in rows[0]), None)
    missing = [name for name in ("image_location", "ade_class_id") if rows and name not in rows[0]]
    if prompt is None or missing:
        raise InputError(f"{path}: lacks {', '.join(missing) or ' or '.join(PROMPTS)}; valid: the CSV as published.")
    if prompt == SPEECH:
        log.warning(
            "%s: speech prompts: the whole sound is compared, where the published protocol takes the time of the word"
            " alone; the numbers do not compare with published ones of speech",
            path,
        )
    samples: dict[str, Sample] = {}
    for row in rows:
        number = _class_number(path, row["ade_class_id"] or "0")
        if not (row[prompt] or "").strip() or number == 0:
            continue
        image = Path(row["image_location"])
        name = first = f"{image.stem}_{number}"
        again = 1
        while name in samples:  # the same class of the same picture, with another prompt
            again += 1
            name = f"{first}_{again}"
        mask = ClassMask(_label_picture(folder, image), number)
        samples[name] = Sample(id=name, truth=mask, label=str(number), group=image.stem)
    return Annotations("ade20k", samples.values(), SIZE)


def _class_number(path: Path, text: str) -> int:
    try:
        return int(float(text))  # the CSV has whole numbers as 12 or 12.0
    except ValueError:
        raise InputError(f"{path}: found ade_class_id {text!r}, valid: a whole number.") from None


def _label_picture(folder: Path, image: Path) -> Path:
    name = image.with_name(image.stem + "_seg.png")
    choices = [folder / part / kept for part in FOLDERS for kept in (name, name.name)]
    return next((choice for choice in choices if choice.exists()), choices[0])

"""What localization needs beside tokens: maps of no model, the protocols' rules, and what identifies annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.sample import Annotations
from avbench.data.annotations.soundshapes import ClipMask, resampled
from avbench.errors import InputError
from avbench.files import sha256_file, sha256_text
from avbench.metrics.localization import centre_disc
from avbench.rng import numpy_stream
from avbench.tasks.localizing.heatmaps import Similarity
from avbench.tasks.localizing.scores import MapsOf, Rules

if TYPE_CHECKING:
    from avbench.tasks.localizing.options import LocalizationConfig
    from avbench.tasks.subject import Subject

BOXES = ("vggss", "flickr", "is3", "avsbench_boxes")  # protocols of boxes, judged by cIoU alone


def mean_mask(subject: Subject, annotations: Annotations) -> npt.NDArray[np.float32] | None:
    """Returns the mean mask of the training clips, (size, size), where their masks are known (the embedded set)."""
    truth = annotations.samples[0].truth
    if not isinstance(truth, ClipMask):
        return None
    try:
        train = subject.train
    except InputError:  # the data has no training clips
        return None
    ids = [clip for clip in train.ids if clip in truth.file]
    if not ids:
        return None
    masks = (truth.file.mask(clip, truth.time) for clip in ids)
    total = sum((mask.astype(np.float64) for mask in masks), start=np.zeros(()))
    return resampled(np.asarray(total / len(ids), dtype=np.float32), annotations.size)


def fixed_rows(annotations: Annotations, grid: tuple[int, int], seed: int) -> dict[str, MapsOf]:
    """Returns the controls that look at neither picture nor sound: random maps and the centre disc.

    Under AVSBench's rule, which marks what is above zero, both have median 0 and deviation 1.

    Args:
        annotations: The samples.
        grid: Rows and columns of the random maps: those of the method's.
        seed: Of the random maps, which depend on a sample's id and nothing else.
    """
    disc = centre_disc(annotations.size)
    signed = annotations.protocol == "avsbench"
    if signed:
        disc = (disc - np.median(disc)) / disc.std()

    def random(chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        ids = annotations.ids
        maps = np.stack([numpy_stream(seed, f"random_map:{ids[row]}").random(grid) for row in chosen])
        return (maps - 0.5) * 12**0.5 if signed else maps  # a uniform draw has the variance 1/12

    return {"random": random, "centre_disc": lambda chosen: np.broadcast_to(disc, (len(chosen), *disc.shape))}


def rules(protocol: str, config: LocalizationConfig) -> Rules:
    """Returns how maps are judged: the protocol's upsampling where the options leave it open."""
    upsampling = config.upsampling
    if upsampling == "auto":
        corners = protocol in BOXES and config.binarisation == "ez"
        upsampling = "bilinear_corners" if corners else "bilinear"
    return Rules(config.binarisation, upsampling, config.activation)


def similarity(protocol: str, config: LocalizationConfig) -> Similarity:
    """Returns how patches and sounds are compared: DenseAV's protocol takes dot products, the others cosines."""
    if config.similarity != "auto":
        return config.similarity
    return "dot" if protocol == "ade20k" else "cosine"


def content_sha256(path: Path) -> str:
    """Returns the hash of an annotation file, or of a folder's file names and sizes and the content of its CSVs.

    Raises:
        InputError: There is no such file or folder.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; valid: annotations (docs/tasks.md, Localization).")
    lines = [
        f"{file.relative_to(path)} {sha256_file(file) if file.suffix == '.csv' else file.stat().st_size}"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return sha256_text("\n".join(lines))

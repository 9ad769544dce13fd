"""Scores heat maps and their controls against annotations, a block of samples at a time.

A row is one way to make maps: the method's, another clip's sound, a fixed map. What a row gets for each sample goes
into the per-sample outputs: ``cIoU``, ``wrong_audio/cIoU``, ... Classes of ADE20K are scored whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.sample import Annotations
from avbench.metrics import localization as loc
from avbench.metrics import segmentation as seg
from avbench.tasks.localizing.heatmaps import Upsampling, upsample

Outputs = dict[str, npt.NDArray[Any]]
MapsOf = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]  # rows of samples -> maps (k, h, w)
FIXED = ("random", "centre_disc")  # rows that are never probabilities, whatever the method's maps are
RIGHT = ""  # the row of the maps that are judged
BLOCK_VALUES = 2**22  # map pixels held at a time: 32 MB in float64
MEASURES: dict[str, tuple[str, ...]] = {
    "vggss": ("cIoU",),
    "flickr": ("cIoU",),
    "is3": ("cIoU", "cIoU_adaptive"),
    "avsbench_boxes": ("cIoU",),
    "avsbench": ("avs_iou", "avs_iou_adaptive", "F_curve"),
    "ade20k": (),
    "soundshapes": ("AP", "IoU", "peak", "cIoU"),
}


@dataclass(frozen=True)
class Rules:
    """How maps are judged."""

    binarisation: loc.Binarisation
    upsampling: Upsampling
    activation: str  # of AVSBench's mIoU and F: sigmoid, or none where the maps are probabilities


@dataclass(frozen=True)
class Scorer:
    """Scores rows of maps against one set.

    Attributes:
        annotations: The samples.
        rules: How maps are judged.
        aspects: Width over height of each sample's picture where boxes move with its crop; None: they do not.
    """

    annotations: Annotations
    rules: Rules
    aspects: npt.NDArray[np.float64] | None = None

    def score(self, rows: Mapping[str, MapsOf], step: Callable[[int], None] = lambda _: None) -> Outputs:
        """Returns the measures of every row, of the oracle and of the whole image, (n,) or (n, thresholds) each.

        Args:
            rows: Name to maps; see :data:`RIGHT`.
            step: Told how many samples were done.
        """
        annotations = self.annotations
        measures = MEASURES[annotations.protocol]
        if any(sample.truth is None for sample in annotations):
            measures = (*measures, "confidence")
        parts: dict[str, list[npt.NDArray[Any]]] = {}
        block = max(1, BLOCK_VALUES // annotations.size**2)
        for first in range(0, len(annotations), block):
            chosen = np.arange(first, min(first + block, len(annotations)))
            truth = self.truth(chosen)
            parts.setdefault("area", []).append((truth > 0).mean(axis=(1, 2)))
            for name, maps in self._maps(rows, chosen, truth).items():
                for measure in measures:
                    parts.setdefault(key(name, measure), []).append(self._measure(measure, name, maps, truth))
            step(len(chosen))
        return {key: np.concatenate(values) for key, values in parts.items()}

    def score_classes(self, rows: Mapping[str, MapsOf], step: Callable[[int], None] = lambda _: None) -> Outputs:
        """Returns AP and IoU of every class and row, whose pixels are pooled (ADE20K), (classes,) each."""
        labels = np.array([sample.label for sample in self.annotations])
        found: dict[str, list[float]] = {}
        for label in np.unique(labels):
            chosen = np.flatnonzero(labels == label)
            truth = self.truth(chosen)
            for name, maps in self._maps(rows, chosen, truth).items():
                ap, iou = seg.pooled_class(maps, truth)
                if name == "oracle" or name == "whole_image":  # a map of one value exceeds no threshold
                    marked = truth > 0 if name == "oracle" else np.ones_like(truth, dtype=np.bool_)
                    iou = float(seg.iou(marked.reshape(1, -1), truth.reshape(1, -1))[0])
                found.setdefault(key(name, "mAP"), []).append(ap)
                found.setdefault(key(name, "mIoU"), []).append(iou)
            step(len(chosen))
        return {key: np.array(values) for key, values in found.items()}

    def truth(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns the ground truth of some samples, (k, size, size)."""
        return self.annotations.masks(chosen, None if self.aspects is None else self.aspects[chosen].tolist())

    def enlarged(self, maps: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Returns maps at the size at which they are judged, (k, size, size)."""
        return upsample(maps, self.annotations.size, self.rules.upsampling)

    def _maps(
        self, rows: Mapping[str, MapsOf], chosen: npt.NDArray[np.int64], truth: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        found = {name: self.enlarged(make(chosen)) for name, make in rows.items()}
        return {**found, "oracle": truth, "whole_image": np.ones_like(truth)}

    def _measure(
        self, measure: str, row: str, maps: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]
    ) -> npt.NDArray[Any]:
        if measure == "confidence":
            return loc.confidence(maps)
        if measure == "AP":
            return seg.average_precision(maps, truth)
        if measure == "IoU":
            return seg.iou_at_area(maps, truth)
        if measure == "peak":
            return seg.peak_hits(maps, truth)
        if measure == "F_curve":
            known = row in ("oracle", "whole_image") or not self._signed(row)
            return seg.f_curves(maps if known else seg.sigmoid(maps), truth)
        if measure == "cIoU" and row == "oracle":
            return loc.oracle_ciou(truth)
        predicted = self._predicted(measure, row, maps, truth)
        return seg.avs_iou(predicted, truth) if measure.startswith("avs_iou") else loc.ciou(predicted, truth)

    def _predicted(
        self, measure: str, row: str, maps: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.bool_]:
        """Returns the area that a map marks; the rules would leave a map of two values or one without any."""
        if row in ("oracle", "whole_image"):
            return np.asarray(maps > 0)
        if measure.endswith("_adaptive"):
            return loc.binarise_adaptive(maps, truth)
        if measure == "avs_iou":
            return np.asarray(maps > (0 if self._signed(row) else loc.HIT))
        return loc.binarise(maps, self.rules.binarisation)

    def _signed(self, row: str) -> bool:
        """Tells whether a row's maps are no probabilities yet: sound where they are above zero."""
        return self.rules.activation == "sigmoid" or row in FIXED


def key(row: str, name: str) -> str:
    """Returns what an output or metric of a row is called: ``wrong_audio/cIoU``, ``cIoU``."""
    return f"{row}/{name}" if row else name

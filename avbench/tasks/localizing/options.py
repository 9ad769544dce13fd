"""Options of localization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avbench.data.annotations.boxes import Rule
from avbench.errors import InputError
from avbench.metrics.localization import Binarisation
from avbench.metrics.segmentation import FScoreForm
from avbench.settings import Settings, setting

Protocol = Literal["auto", "soundshapes", "vggss", "flickr", "is3", "avsbench", "ade20k"]


@dataclass(frozen=True, kw_only=True)
class LocalizationConfig(Settings):
    """Options of localization; docs/tasks.md says what the protocols make of them."""

    protocol: Protocol = setting("auto", "whose protocol; auto: by the annotations, soundshapes for the embedded set")
    annotations: str = setting("", "annotation file or folder; empty: the masks of the embedded set", identity=False)
    subset: str = setting("", "text file of sample ids, one per line, to evaluate only these", identity=False)
    negatives: str = setting("", "CSV video,audio,label of an extended set (SLAVC); empty: none", identity=False)
    visibility: str = setting(
        "", "vggsounder.csv, for scores of sounds that are heard and seen and of others; empty: none", identity=False
    )
    similarity: Literal["auto", "cosine", "dot"] = setting(
        "auto", "of a patch token and the sound's vector; auto: the protocol's, dot with ade20k, else cosine"
    )
    sign: Literal["positive", "negative"] = setting("positive", "negative: mark the least similar patches")
    centring: Literal["none", "evaluated", "train"] = setting(
        "none", "take the mean patch and the mean sound of these clips from all tokens first"
    )
    audio_vector: Literal["mean", "global"] = setting("mean", "the sound: mean of its tokens, or global token (Sync)")
    frame: int = setting(-1, "frame to evaluate, from 0, of several; -1: nearest to the annotated time", ge=-1)
    binarisation: Binarisation = setting("ez", "ez: at least the median (EZ-VSL); lvs: above the upper median (LVS)")
    upsampling: Literal["auto", "bilinear", "bilinear_corners", "bicubic_corners"] = setting(
        "auto", "of the maps; auto: bilinear, with ez's boxes bilinear_corners"
    )
    rasterisation: Rule = setting("ez", "how box edges become pixels: ez (cut to the picture) or lvs; the same maps")
    image: Literal["crop", "stretch"] = setting(
        "crop", "what of a frame is judged: crop: the middle square; stretch: all of it, its aspect changed (EZ-VSL)"
    )
    box_mapping: Literal["stretch", "crop"] = setting(
        "stretch", "stretch: boxes over the whole map (both references); crop: moved with the frame's centre crop"
    )
    activation: Literal["sigmoid", "none"] = setting(
        "sigmoid", "AVSBench masks: of the map, before thresholds; none: maps are probabilities"
    )
    f_score: FScoreForm = setting(
        "whole_set", "AVSBench masks: largest mean F over the set, or of each batch as published"
    )
    f_batch: int = setting(4, "frames per batch in the published form of F", ge=1)
    control_seed: int = setting(0, "seed of the wrong sounds and the random maps", ge=0)
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)
    pictures: int = setting(8, "samples on each sheet of overlays (first, best, worst); 0: none", ge=0, identity=False)
    picture_folder: str = setting("", "where the sheets go; empty: next to the evaluation's files", identity=False)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            InputError: A wrong type, a value out of range, or boxes that are to move with a crop that is not made.
        """
        super().__post_init__()
        if self.image == "stretch" and self.box_mapping == "crop":
            raise InputError("task.box_mapping: found crop, valid with task.image=stretch: stretch.")

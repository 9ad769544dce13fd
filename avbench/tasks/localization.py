"""Localization: where in the picture a sound comes from, by the similarity of the sound to each patch.

Source: docs/protocol/cavmae_sync.md 5 (protocols) and docs/protocol/embedded_set.md 3 and 6: a map counts as
localization of sound only by what the right sound adds over the wrong one, so controls stand beside every number.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.data.locate import EMBEDDED
from avbench.errors import InputError
from avbench.metrics.evidence import Evidence
from avbench.tasks.annotated import Annotated
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult
from avbench.tasks.localizing.options import LocalizationConfig

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.annotations.sample import Annotations
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.localizing.inputs import Judged
    from avbench.tasks.localizing.scores import MapsOf, Scorer
    from avbench.tasks.subject import Subject

CARD = TaskCard(
    summary="find the sounding object by its sound: cIoU@0.5 and AUC, AP, mIoU, with controls",
    needs=("tokens", "training tokens", "annotations", "heatmaps"),
    modalities=("audio", "visual"),
    abilities=("patch_tokens",),
    columns=(
        "cIoU@0.5",
        "AUC",
        "IIoU@0.5",
        "IAUC",
        "AP_extended",
        "max_F1",
        "AP",
        "IoU",
        "mAP",
        "mIoU",
        "mIoU_adaptive",
        "F",
    ),
)
OF_TOKENS = ("image", "box_mapping", "similarity", "sign", "centring", "audio_vector", "frame")  # unused with maps
log = logging.getLogger("avbench")


class Localization(Task[LocalizationConfig]):
    """Scores maps of patches against boxes or masks, beside controls; see docs/tasks.md."""

    name = "localization"
    version = 3  # 3: dot products with ade20k, Wilson's intervals of shares
    resampled = "clips or, where several samples share a picture, pictures are resampled"
    config_type = LocalizationConfig

    def check(self, config: RunConfig) -> None:
        """Refuses a run without annotations, or with files that are not there.

        Raises:
            InputError: Such a run.
        """
        from avbench.data.annotations.read import detect
        from avbench.tasks.localizing.controls import content_sha256

        options = config.task
        if not isinstance(options, LocalizationConfig):
            raise TypeError("localization is asked about another task's options")  # only a mistake here gets there
        for path in (options.subset, options.negatives, options.visibility):
            if path:
                content_sha256(Path(path))
        if options.annotations:
            detect(Path(options.annotations))
        elif config.data.judged.source not in EMBEDDED:
            raise InputError(
                "task.annotations: found nothing, valid: an annotation file (docs/tasks.md, Localization)."
            )

    def spared(self, config: LocalizationConfig) -> frozenset[str]:
        """Returns that only centring by training clips needs their tokens."""
        return frozenset() if config.centring == "train" else frozenset({"training tokens"})

    def framed(self, clips: Clips, config: RunConfig) -> Clips:
        """Returns the clips with frames stretched to the model's square, where the options say so."""
        from avbench.tasks.localizing.framing import framed

        return framed(clips, cast(LocalizationConfig, config.task), config.input.image_size)

    def annotated(self, config: RunConfig, ids: Collection[str]) -> Annotated | None:
        """Returns the clips of the annotated samples; None for the embedded set, all of whose clips have masks."""
        from avbench.tasks.localizing.inputs import annotated

        return annotated(cast(LocalizationConfig, config.task), ids)

    def files(self, config: LocalizationConfig) -> dict[str, str]:
        """Returns the hashes of the files that it reads: their paths are not part of a run's identity."""
        from avbench.tasks.localizing.controls import content_sha256

        named = {name: getattr(config, name) for name in ("annotations", "subset", "negatives", "visibility")}
        return {name: content_sha256(Path(path)) for name, path in named.items() if path}

    def run(self, subject: Subject, config: LocalizationConfig) -> TaskResult:
        """Evaluates a model's patch tokens.

        Rows: the maps; those of another clip's sound (``wrong_audio``), of the mean sound (``mean_audio``); random
        ones; a centre disc; the mean mask of the training clips; the oracle; the whole image. ``gain`` is right minus
        wrong.

        Raises:
            InputError: The annotations or the options cannot be used, or no annotated clip is there.
        """
        from avbench.tasks.localizing import controls, inputs, maps

        judged = inputs.judged_samples(subject, config)
        maker = maps.map_maker(subject, config, judged)
        rows: dict[str, MapsOf] = {"": lambda chosen: maker.maps(judged.pictures[chosen], judged.sounds[chosen])}
        wrong = judged.wrong_sounds(config.control_seed)
        if wrong is not None:
            rows["wrong_audio"] = lambda chosen: maker.maps(judged.pictures[chosen], wrong[chosen])
        if config.centring == "none":  # the mean of centred sounds has no direction
            rows["mean_audio"] = lambda chosen: maker.maps(judged.pictures[chosen], None)
        prior = controls.mean_mask(subject, judged.annotations)
        if prior is not None:
            rows["mean_mask"] = lambda chosen: np.broadcast_to(prior, (len(chosen), *prior.shape))
        result, scorer = self._scored(judged.annotations, rows, maker.grid, config, judged.aspects, subject.progress)
        whole = rows[""](np.arange(len(judged.annotations)))
        if config.pictures:
            self._draw(subject, config, judged, rows, scorer, result)
        return dataclasses.replace(result, per_sample={**result.per_sample, "map": whole})

    def evaluate_heatmaps(self, path: Path, annotations: Path, config: LocalizationConfig) -> TaskResult:
        """Evaluates maps that anyone made.

        Args:
            path: An .npz with ``id`` (n,) and ``map`` (n, h, w), larger where it sounds, of any resolution; and
                perhaps ``wrong_audio`` (n, h, w), the maps of the same pictures with the sound of other clips.
            annotations: The annotation file or folder.
            config: Options; those of tokens and frames are refused.

        Raises:
            InputError: A file or option cannot be used, or no map has an annotation.
        """
        from avbench.tasks.localizing import inputs
        from avbench.tasks.localizing.heatmaps import read_heatmaps

        plain = LocalizationConfig()
        for name in OF_TOKENS:
            if (asked := getattr(config, name)) != getattr(plain, name):
                raise InputError(f"task.{name}: found {asked}, not used with heat maps; leave it out.")
        found = read_heatmaps(path)
        place = {name: row for row, name in enumerate(found.ids)}
        known = inputs.read(annotations, config)
        chosen = [row for row, sample in enumerate(known) if sample.id in place]
        if not chosen:
            raise InputError(
                f"{path}: none of its {len(place)} ids is annotated in {annotations}; ids look like"
                f" '{found.ids[0]}' and '{known.ids[0]}'."
            )
        unused = len(place) - len(chosen)
        log.info("%d of %d annotated samples have maps; %d maps have none", len(chosen), len(known), unused)
        judged = known.select(chosen)
        index = np.array([place[name] for name in judged.ids])
        rows: dict[str, MapsOf] = {"": lambda some: found.maps[index[some]]}
        wrong = found.wrong
        if wrong is not None:
            rows["wrong_audio"] = lambda some: wrong[index[some]]
        height, width = found.maps.shape[1:]
        return self._scored(judged, rows, (height, width), config, None, False)[0]

    def evidence(self, outputs: Outputs, config: LocalizationConfig) -> Evidence:
        """Returns what the metrics are made of: none for ADE20K, which pools pixels; see the base class."""
        from avbench.tasks.localizing import summary

        return summary.evidence(outputs, summary.FScore(config.f_score, config.f_batch))

    def _scored(
        self,
        annotations: Annotations,
        rows: Mapping[str, MapsOf],
        grid: tuple[int, int],
        config: LocalizationConfig,
        aspects: npt.NDArray[np.float64] | None,
        progress: bool,
    ) -> tuple[TaskResult, Scorer]:
        from avbench.data.progress import Progress
        from avbench.tasks.localizing import controls, strata, summary
        from avbench.tasks.localizing.scores import Scorer

        ids = annotations.ids
        if config.negatives and all(sample.truth is not None for sample in annotations):
            raise InputError(
                "task.negatives: found none of its pairs, valid: clips of both, or maps with ids VIDEO+AUDIO."
            )
        rows = {**rows, **controls.fixed_rows(annotations, grid, config.control_seed)}
        scorer = Scorer(annotations, controls.rules(annotations.protocol, config), aspects)
        outputs: dict[str, npt.NDArray[Any]] = {
            "id": np.array(ids, dtype=np.str_),
            "class": np.array([sample.label for sample in annotations], dtype=np.str_),
            "group": np.array([sample.picture for sample in annotations], dtype=np.str_),
            "positive": np.array([sample.truth is not None for sample in annotations]),
        }
        if config.visibility:
            outputs["visible"] = strata.flags(annotations, Path(config.visibility))
        with Progress("localization", len(ids), unit="map", enabled=progress) as bar:
            if annotations.protocol == "ade20k":
                groups, found = summary.class_statistics(scorer.score_classes(rows, lambda n: bar.step(count=n)))
            else:
                outputs.update(scorer.score(rows, lambda n: bar.step(count=n)))
                groups, found = summary.statistics(outputs, summary.FScore(config.f_score, config.f_batch))
        metrics = summary.values(groups, found)
        compared = {k: v for k, v in summary.kept(found).items() if "/" not in k or k.startswith(summary.COMPARED)}
        ci95 = summary.intervals(groups, compared, resamples=config.resamples, seed=config.bootstrap_seed)
        chance = {name: metrics[control] for name in metrics if (control := summary.control(name, "random")) in metrics}
        result = TaskResult(
            n=len(ids),
            ids_sha256=hash_ids(ids),
            metrics=summary.kept(metrics),
            chance=chance,
            ci95=ci95,
            per_sample=outputs,
        )
        return result, scorer

    def _draw(
        self,
        subject: Subject,
        config: LocalizationConfig,
        judged: Judged,
        rows: Mapping[str, MapsOf],
        scorer: Scorer,
        result: TaskResult,
    ) -> None:
        from avbench.tasks.localizing.sheets import draw

        folder = Path(config.picture_folder) if config.picture_folder else subject.folder / "pictures"
        shown = {name: rows[name] for name in ("", "wrong_audio") if name in rows}
        draw(folder, subject, judged, shown, scorer, result, config.pictures)
        log.info("overlay pictures: %s", folder)


CONFIG = LocalizationConfig
TASK = Localization()

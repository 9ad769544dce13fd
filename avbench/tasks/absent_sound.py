"""Sound that is not there: what localization marks with silence, noise or another class's sound, at one threshold.

The usual rule marks half of every map, whatever is heard. Here one threshold holds for all maps, so that a model can
also say that nothing in the picture sounds. After Juanola et al. (arXiv 2410.01020); definitions in docs/tasks.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.silenced import Noise, Silence
from avbench.errors import InputError
from avbench.metrics.evidence import Evidence, Mean
from avbench.metrics.evidence_intervals import intervals
from avbench.rng import numpy_stream
from avbench.settings import setting
from avbench.tasks.base import Outputs, TaskCard, TaskResult
from avbench.tasks.localization import Localization
from avbench.tasks.localizing.options import LocalizationConfig
from avbench.tasks.localizing.strata import flags, strata

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.changed import Change
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.localizing.inputs import Judged
    from avbench.tasks.localizing.scores import MapsOf
    from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

CARD = TaskCard(
    summary="localization with silence, noise or another class's sound, one threshold for all maps; by box area",
    needs=("tokens", "changed tokens", "training tokens", "annotations"),
    modalities=("audio", "visual"),
    abilities=("patch_tokens",),
    columns=("cIoU@0.5", "cIoU_one@0.5", "AUC_one", "marked", "quiet", "below"),
    units={
        "cIoU_one@0.5": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "AUC_one": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1},
        "marked": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "better": "lower"},
        "quiet": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
        "below": {"factor": 100.0, "symbol": "%", "digits": 2, "coarse": 1, "share": True},
    },
)
ABSENT = ("silence", "noise", "other_class")
BLOCK = 64  # samples whose enlarged maps are held at a time


@dataclass(frozen=True, kw_only=True)
class AbsentSoundConfig(LocalizationConfig):
    """Options of sound that is not there: those of localization, and where the threshold is."""

    quantile: float = setting(
        0.75, "share of the maps of each kind of absent sound that are to peak at the threshold or below", gt=0, lt=1
    )


class AbsentSound(Localization):
    """Judges maps of the right sound and of sounds that nothing in the picture makes."""

    name = "absent_sound"
    version = 1
    config_type = AbsentSoundConfig

    def changes(self, config: RunConfig) -> tuple[Change, ...]:
        """Returns silence and noise; see the base class."""
        return _gone(cast(AbsentSoundConfig, config.task))

    def run(self, subject: Subject, config: LocalizationConfig) -> TaskResult:
        """Evaluates a model's patch tokens; see :class:`~avbench.tasks.base.Task`.

        Raises:
            InputError: The annotations or the options cannot be used, or no annotated clip is there.
        """
        from avbench.tasks.localizing import inputs

        if not isinstance(config, AbsentSoundConfig):
            raise TypeError("absent_sound is asked about another task's options")  # only a mistake here gets there
        judged = inputs.judged_samples(subject, config)
        if judged.annotations.protocol == "ade20k" or any(each.truth is None for each in judged.annotations):
            raise InputError("task.protocol: found ade20k or negatives, valid: boxes or masks of what sounds.")
        outputs = _outputs(subject, config, judged)
        evidence = self.evidence(outputs, config)
        ids = judged.annotations.ids
        return TaskResult(
            n=len(ids),
            ids_sha256=hash_ids(ids),
            metrics=dict(evidence.values),
            chance={f"{kind}/below": 0.5 for kind in ABSENT if f"{kind}/below" in evidence.values},
            ci95=intervals(evidence, self.name, resamples=config.resamples, seed=config.bootstrap_seed),
            per_sample=outputs,
        )

    def evaluate_heatmaps(self, path: Path, annotations: Path, config: LocalizationConfig) -> NoReturn:
        """Refuses: the maps of absent sounds are not in such a file.

        Args:
            path: Not used.
            annotations: Not used.
            config: Not used.

        Raises:
            InputError: Always.
        """
        raise InputError("--heatmaps: not used by task 'absent_sound', which makes maps itself, valid: localization.")

    def evidence(self, outputs: Outputs, config: LocalizationConfig) -> Evidence:
        """Returns what the metrics are made of; samples of one picture are drawn together."""
        from avbench.metrics import localization as loc

        names, group = np.unique(outputs["group"], return_inverse=True)
        every = np.ones(len(group), np.bool_)
        means: dict[str, Mean] = {}

        def add(name: str, values: Float64, chosen: npt.NDArray[np.bool_] = every) -> None:
            totals, counts = (
                np.bincount(group, each * chosen, len(names)).astype(np.float64)
                for each in (values, np.ones(len(group)))
            )
            if counts.any():
                means[name] = Mean(totals, counts)

        half, one = (loc.hits(outputs[name]) for name in ("cIoU", "cIoU_one"))
        add("cIoU@0.5", half)
        add("vision_only/cIoU@0.5", loc.hits(outputs["vision_only/cIoU"]))
        add("cIoU_one@0.5", one)
        add("AUC_one", loc.areas(outputs["cIoU_one"]))
        for stratum, chosen in strata(outputs).items():
            add(f"{stratum}/cIoU@0.5", half, chosen)
            add(f"{stratum}/cIoU_one@0.5", one, chosen)
        for kind in ("", *ABSENT):
            marked = outputs.get(f"{kind}/marked" if kind else "marked")
            if marked is None:
                continue
            add(f"{kind}/marked" if kind else "marked", marked)
            add(f"{kind}/quiet" if kind else "quiet", (marked == 0).astype(np.float64))
            if kind:
                right, absent = outputs["peak"], outputs[f"{kind}/peak"]
                add(f"{kind}/below", (right > absent) + 0.5 * (right == absent))
        values = {name: mean.value for name, mean in means.items()}
        return Evidence(names, {**values, "threshold": float(outputs["threshold"][0])}, means)


def _outputs(subject: Subject, config: AbsentSoundConfig, judged: Judged) -> dict[str, Array]:
    """Returns what is kept of each sample: scores, and what is marked of and how high each map peaks."""
    from avbench.data.progress import Progress
    from avbench.metrics import localization as loc
    from avbench.tasks.localizing import controls
    from avbench.tasks.localizing.scores import Scorer

    rows = _rows(subject, config, judged)
    annotations = judged.annotations
    scorer = Scorer(annotations, controls.rules(annotations.protocol, config), judged.aspects)
    blocks = [np.arange(len(annotations))[first : first + BLOCK] for first in range(0, len(annotations), BLOCK)]
    kinds = ("", *(kind for kind in ABSENT if kind in rows))

    def peaks(name: str) -> Float64:
        parts = (scorer.enlarged(rows[name](chosen)).max(axis=(1, 2)) for chosen in blocks)
        return np.concatenate(list(parts)).astype(np.float64)

    peak = {kind: peaks(kind) for kind in kinds}
    threshold = max(float(np.quantile(peak[kind], config.quantile)) for kind in kinds if kind)
    parts: dict[str, list[Array]] = {}
    with Progress("absent sound", len(annotations), unit="map", enabled=subject.progress) as bar:
        for chosen in blocks:
            truth = scorer.truth(chosen)
            found: dict[str, Array] = {"area": (truth > 0).mean(axis=(1, 2))}
            for kind in kinds:
                maps = scorer.enlarged(rows[kind](chosen))
                marked = maps > threshold
                found[f"{kind}/marked" if kind else "marked"] = marked.mean(axis=(1, 2))
                if not kind:
                    found["cIoU_one"] = loc.ciou(marked, truth)
                    found["cIoU"] = loc.ciou(loc.binarise(maps, config.binarisation), truth)
            salient = loc.binarise(scorer.enlarged(rows["vision_only"](chosen)), config.binarisation)
            found["vision_only/cIoU"] = loc.ciou(salient, truth)
            for name, values in found.items():
                parts.setdefault(name, []).append(values)
            bar.step(count=len(chosen))
    if config.visibility:
        parts["visible"] = [flags(annotations, Path(config.visibility))]
    return {
        "id": np.array(annotations.ids, dtype=np.str_),
        "group": np.array([sample.picture for sample in annotations], dtype=np.str_),
        "threshold": np.full(len(annotations), threshold),
        **{f"{kind}/peak" if kind else "peak": values for kind, values in peak.items()},
        **{name: np.concatenate(values) for name, values in parts.items()},
    }


def _gone(config: AbsentSoundConfig) -> tuple[Change, ...]:
    return Silence(), Noise(config.control_seed)


def _rows(subject: Subject, config: AbsentSoundConfig, judged: Judged) -> Mapping[str, MapsOf]:
    """Returns what makes the maps of each row."""
    from avbench.tasks.localizing.heatmaps import similarity_map
    from avbench.tasks.localizing.maps import map_maker, sound_vectors

    maker = map_maker(subject, config, judged)
    rows: dict[str, MapsOf] = {"": lambda chosen: maker.maps(judged.pictures[chosen], judged.sounds[chosen])}
    for change in _gone(config):
        sound = sound_vectors(subject.on(change).tokens("evaluated"), config)
        other = dataclasses.replace(maker, sound=np.array(sound.reshape(-1, sound.shape[-1])))
        rows[str(change)] = lambda chosen, other=other: other.maps(judged.pictures[chosen], judged.sounds[chosen])  # type: ignore[misc]
    strange = other_class(judged, subject.evaluated, config.control_seed)
    if strange is not None:
        rows["other_class"] = lambda chosen: maker.maps(judged.pictures[chosen], strange[chosen])

    def salient(chosen: npt.NDArray[np.int64]) -> Array:
        patches = maker.visual[judged.pictures[chosen]]
        return -similarity_map(patches, patches.mean(axis=1), "cosine").reshape(-1, *maker.grid)

    return {**rows, "vision_only": salient}


def other_class(judged: Judged, clips: Clips, seed: int) -> npt.NDArray[np.int64] | None:
    """Returns a sound for each sample of a clip that shares no label with its own, at the same frame.

    Where labels do not tell, it is another clip's; None where there is none.

    Args:
        judged: The samples.
        clips: Those that are judged.
        seed: Of the choice, a stream of its own for each sample's id.
    """
    labels = [frozenset(clips.labels(int(row))) for row in judged.clips]
    found = judged.wrong_sounds(seed)
    if found is None:
        return None
    count, ids = judged.tokens.audio.shape[1], judged.annotations.ids
    for i, own in enumerate(labels):
        others = [j for j, label in enumerate(labels) if own and label and not own & label]
        if others:
            j = others[int(numpy_stream(seed, f"other_class:{ids[i]}").integers(len(others)))]
            found[i] = judged.sounds[j] // count * count + judged.sounds[i] % count
    return found


CONFIG = AbsentSoundConfig
TASK = AbsentSound()

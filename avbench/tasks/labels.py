"""The labels of clips as numbers: which classes each has, whether there is one a clip, and parts of class names."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from avbench.data.soundshapes.factors import SHAPES
from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips

log = logging.getLogger("avbench")
LabelKind = Literal["auto", "single", "multi"]
Int64 = npt.NDArray[np.int64]

SEPARATOR = "-"  # between the parts of a class name
SOUNDSHAPES = ("shape", "pitch", "pulses", "rim")  # parts of the embedded set's class names
_NAMED = 3  # clips or classes named in a message


@dataclass(frozen=True)
class Labels:
    """Which classes each clip has: those of clip i are ``codes[offsets[i] : offsets[i + 1]]``.

    Attributes:
        classes: All classes, in the order of their indices.
        offsets: (n + 1,).
        codes: (labels in all,) class indices.
    """

    classes: tuple[str, ...]
    offsets: Int64
    codes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def single(self) -> bool:
        """Whether every clip has exactly one class."""
        return bool((np.diff(self.offsets) == 1).all())

    def counts(self) -> Int64:
        """Returns how many clips have each class, (C,)."""
        return np.bincount(self.codes, minlength=len(self.classes))

    def multi_hot(self, rows: npt.NDArray[np.integer[Any]] | None = None, dtype: Any = np.float32) -> npt.NDArray[Any]:
        """Returns zeros and ones, (len(rows), C).

        Args:
            rows: Indices of clips; None: all of them, in order.
            dtype: Of the result: 527 classes of two million clips take 1 GB as ``bool``, 4 GB as ``float32``.
        """
        chosen = np.arange(len(self)) if rows is None else np.asarray(rows)
        starts, counts = self.offsets[chosen], self.offsets[chosen + 1] - self.offsets[chosen]
        row = np.repeat(np.arange(len(chosen)), counts)
        place = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(starts, counts)
        result = np.zeros((len(chosen), len(self.classes)), dtype)
        result[row, self.codes[place]] = 1
        return result

    def indices(self) -> Int64:
        """Returns each clip's class, (n,).

        Raises:
            InputError: A clip has no class or several.
        """
        if not self.single:
            most = int(np.diff(self.offsets).max(initial=0))
            raise InputError(f"labels: found up to {most} a clip, valid: exactly one; use several-label targets.")
        return self.codes.astype(np.int64)

    def targets(self, *, single: bool) -> npt.NDArray[Any]:
        """Returns what metrics and losses compare with: (n,) int64 where ``single``, else (n, C) bool."""
        return self.indices() if single else self.multi_hot(dtype=np.bool_)


def read_labels(clips: Clips, shown: Mapping[str, str], *, what: str = "clips") -> Labels:
    """Reads the labels of clips.

    Args:
        clips: The clips.
        shown: The label that each class name stands for (:func:`parts`); its labels are the classes, in their order.
        what: What to call the clips in an error.

    Raises:
        InputError: A clip has no label, or one that ``shown`` lacks.
    """
    n = len(clips)
    index = {label: i for i, label in enumerate(dict.fromkeys(shown.values()))}
    offsets, codes = clips.label_codes()
    shown_codes = np.array([index.get(shown.get(name, ""), -1) for name in clips.class_names], np.int32)
    codes = shown_codes[codes] if len(codes) else codes
    row = np.repeat(np.arange(n), np.diff(offsets))
    unknown = np.flatnonzero(codes < 0)
    if len(unknown):
        clip = int(row[unknown[0]])
        name = next(name for name in clips.labels(clip) if name not in shown)
        raise InputError(f"clip '{clips.ids[clip]}': found label '{name}', which is no class of the data.")
    if len(codes) > n:  # two names of one clip may stand for one label
        kept = np.sort(np.unique(row * len(index) + codes, return_index=True)[1])
        codes = codes[kept]
        offsets = np.concatenate(([0], np.cumsum(np.bincount(row[kept], minlength=n))))
    bare = np.flatnonzero(np.diff(offsets) == 0)
    if len(bare) == n:
        raise InputError(
            f"labels: found none for any of the {n} {what}, valid: one or more a clip; prepare a CSV with the columns"
            " file,label or folders named by class, or name the label CSV with --set data.labels=FILE."
        )
    if len(bare):
        some = _some([clips.ids[i] for i in bare[:_NAMED].tolist()], len(bare))
        raise InputError(
            f"labels: found none for {len(bare)} of the {n} {what} ({some}), valid: one or more a clip; label these"
            " clips or leave them out."
        )
    return Labels(tuple(index), offsets, codes)


@dataclass(frozen=True)
class LabelPair:
    """The labels of training and evaluated clips, over the same classes, and whether there is one a clip."""

    train: Labels
    evaluated: Labels
    single: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order of their indices."""
        return self.train.classes


def read_pair(
    train: Clips, evaluated: Clips, *, kind: LabelKind = "auto", label: str = "", warn: bool = True
) -> LabelPair:
    """Reads the labels that a classifier is trained and judged on.

    A class that no training clip has is allowed, and said.

    Args:
        train: Training clips.
        evaluated: Clips to judge on.
        kind: One label a clip (``single``), any number (``multi``), or ``auto``: one where every training clip has
            exactly one.
        label: Which parts of the class names are the label; see :func:`parts`. Empty: whole names.
        warn: Mention classes without a training clip.

    Raises:
        InputError: Clips without labels, several labels where one is wanted, fewer than two classes, or names without
            such parts.
    """
    names = tuple(dict.fromkeys((*train.class_names, *evaluated.class_names)))
    shown = parts(names, label)
    first = read_labels(train, shown, what="training clips")
    second = read_labels(evaluated, shown, what="evaluated clips")
    if len(first.classes) < 2:
        raise InputError(f"labels: found one class ({first.classes[0]}), valid: two or more, to tell apart.")
    single = first.single if kind == "auto" else kind == "single"
    if single:
        for labels, clips, what in ((first, train, "training"), (second, evaluated, "evaluated")):
            several = np.flatnonzero(np.diff(labels.offsets) > 1)
            if len(several):
                raise InputError(
                    f"labels: found several for {len(several)} of the {len(labels)} {what} clips"
                    f" ({_some([clips.ids[i] for i in several[:_NAMED].tolist()], len(several))}), valid: one a clip;"
                    " --set task.target=multi judges several."
                )
    unseen = np.flatnonzero((first.counts() == 0) & (second.counts() > 0))
    if len(unseen) and warn:
        some = _some([first.classes[i] for i in unseen[:_NAMED].tolist()], len(unseen))
        log.warning("labels: %d classes of the evaluated clips have no training clip (%s)", len(unseen), some)
    return LabelPair(first, second, single)


def check_labels(train: Clips | None, evaluated: Clips, *, kind: LabelKind = "auto", label: str = "") -> None:
    """Refuses clips whose labels cannot be used; arguments as in :func:`read_pair`."""
    if train is not None:
        _check_classes(train, evaluated, label=label)
        read_pair(train, evaluated, kind=kind, label=label, warn=False)


def _check_classes(train: Clips, evaluated: Clips, *, label: str) -> None:
    """Refuses judged clips of classes that the data of the training clips do not know: they are called otherwise there.

    Args:
        train: Training clips.
        evaluated: Clips to judge on, perhaps of another source.
        label: Which parts of the class names are the label; see :func:`parts`.

    Raises:
        InputError: There is such a class.
    """
    if evaluated.class_names == train.class_names:
        return
    names = tuple(dict.fromkeys((*train.class_names, *evaluated.class_names)))
    shown = parts(names, label)
    known = {shown[name] for name in train.class_names}
    used = [evaluated.class_names[int(code)] for code in np.unique(evaluated.label_codes()[1])]
    strange = sorted({shown[name] for name in used} - known)
    if strange:
        raise InputError(
            f"labels: found {len(strange)} classes of the clips to judge ({_some(strange)}) that the training data do"
            f" not know (their {len(known)}: {_some(sorted(known))}), valid: the same names; name one label CSV for"
            " both manifests with --set data.labels=FILE, or label the clips alike."
        )


def parts(names: Sequence[str], label: str) -> dict[str, str]:
    """Returns the label that each class name stands for.

    ``2+3`` of ``ring-high-pulsed-plain`` is ``high-pulsed``. The parts of the embedded set have names, too: shape and
    pitch are in picture and sound, pulses in the sound alone, rim in the picture alone; ``shape+pitch`` is what both
    share.

    Args:
        names: All class names.
        label: Parts joined by ``+``; empty: whole names.

    Raises:
        InputError: A part that the names do not have.
    """
    if not label:
        return {name: name for name in names}
    split = {name: name.split(SEPARATOR) for name in names}
    lengths = {len(pieces) for pieces in split.values()}
    if len(lengths) != 1 or lengths == {1}:
        example = min(names, key=lambda name: len(split[name]), default="")
        raise InputError(
            f"task.label: found '{label}', valid: empty, for whole names, as the class names have no common number of"
            f" parts joined by '{SEPARATOR}' ('{example}')."
        )
    count = lengths.pop()
    known = {str(i + 1): i for i in range(count)}
    if count == len(SOUNDSHAPES) and all(pieces[0] in SHAPES for pieces in split.values()):
        known |= {name: i for i, name in enumerate(SOUNDSHAPES)}
    chosen = label.split("+")
    wrong = next((part for part in chosen if part not in known), None)
    if wrong is not None or len(set(chosen)) != len(chosen):
        raise InputError(
            f"task.label: found '{wrong if wrong is not None else label}', valid: {', '.join(known)}, each once, joined"
            f" by '+', which are the parts of '{names[0]}'."
        )
    return {name: SEPARATOR.join(pieces[known[part]] for part in chosen) for name, pieces in split.items()}


def _some(names: Sequence[str], count: int | None = None) -> str:
    """Returns the first few of ``count`` names for a message."""
    more = ", ..." if (len(names) if count is None else count) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

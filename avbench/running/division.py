"""Which clips of the data train and which are judged: never the same ones, unless the user asks for it.

What is held out is the data's own split ``test``; where the data names no split, the clips that the task's annotations
name or, without such, a share by the hash of the ids. Held-out clips are judged wherever anything of the run trains on
the data, and all clips where nothing does; annotated ones in both cases.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avbench.config import RunConfig
from avbench.data.corpus.pair import Corpus, names_splits, remembered
from avbench.data.feed.sampling import share_of_each
from avbench.errors import InputError
from avbench.rng import numpy_stream, stream_seed

if TYPE_CHECKING:
    import numpy.typing as npt

    from avbench.data.corpus.clips import Clips
    from avbench.tasks.annotated import Annotated

log = logging.getLogger("avbench")
_NAMED = 3  # clips named in a message
_REJECTED = "rejected.csv"  # what the preparation of a folder lists as not usable


@dataclass(frozen=True)
class Division:
    """What trains and what is judged.

    Attributes:
        train: The clips of the training split; None where there are none.
        tune: The tuning split, likewise.
        evaluated: The clips that are judged, of split ``split``.
        split: The name of that split, or ``all``.
        of: How many clips the judged source has.
        held_out: What told the judged from the training clips: ``split``, ``annotations``, ``hash``; or ``none``.
        left_out: How many clips of the source, or files, are not judged, by reason; those that train do not count.
    """

    train: Clips | None
    tune: Clips | None
    evaluated: Clips
    split: str
    of: int
    held_out: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    def selection(self) -> dict[str, Any]:
        """Returns what a record says of it."""
        return {
            "clips": len(self.evaluated),
            "of": self.of,
            "held_out": self.held_out,
            "left_out": dict(self.left_out),
        }


def account(selection: Mapping[str, Any]) -> str:
    """Returns one line on what was judged of the data, where that is not simply its test split or all; else nothing."""
    why = {
        "hash": ", held out by the hash of their ids, as the data names no split",
        "annotations": ", the annotated ones",
    }.get(selection["held_out"], "")
    left = "; ".join(f"{count:,} {reason}" for reason, count in selection["left_out"].items())
    if not why and not left:
        return ""
    return f"judged: {selection['clips']:,} of {selection['of']:,} clips{why}{f'; left out: {left}' if left else ''}"


def training_clips(
    config: RunConfig, corpus: Corpus, annotated: Annotated | None = None
) -> tuple[Clips | None, Clips | None]:
    """Returns the clips of the splits ``train`` and ``tune``; of a source that is not judged and names none, all.

    Args:
        config: The run.
        corpus: Its clips.
        annotated: Ids that annotations hold out.
    """
    if corpus.paired and not names_splits(corpus.train):
        return corpus.train, None
    return _part(config, corpus.train, "train", annotated), _part(config, corpus.train, "tune", annotated)


def divide(
    config: RunConfig, corpus: Corpus, *, annotated: Annotated | None, trains: bool, warn: bool = True
) -> Division:
    """Divides the clips of a run.

    Args:
        config: The run.
        corpus: The clips there are.
        annotated: Those that the task's annotations name; None where it has none.
        trains: Whether the task trains on the training clips.
        warn: Mention listed clips that are not judged.

    Raises:
        InputError: Nothing is left to be judged, or the task would be judged on clips that it trains on.
    """
    train, tune = training_clips(config, corpus, annotated)
    clips, names = corpus.judged, config.data.judged.source
    named = names_splits(clips)
    apart = not corpus.paired and (trains or config.weights not in ("checkpoint", "given"))
    split = config.data.split
    if split == "auto":
        split = "test" if named or apart or (annotated is not None and not corpus.paired) else "all"
    if split == "all":
        chosen: Clips | None = clips
    elif corpus.paired and not named:
        raise InputError(f"data.split: found {split}, valid: all, as {names} names no split.")
    else:
        chosen = _part(config, clips, split, annotated)
    if chosen is None:
        if annotated is not None and not named:
            raise _none_annotated(config, clips, annotated)
        found = ", ".join(sorted(_splits(config, clips, annotated).keys() - {""}))
        told = split if split == config.data.split else f"{config.data.split}, here {split}"
        raise InputError(f"data.split: found {told}, valid: all, {found}, the splits {names} has.")
    held_out = "none" if split != "test" else "split" if named else "hash" if annotated is None else "annotations"
    used = {"train", "tune"} if apart and split == "test" else set()
    left_out = {} if held_out == "annotations" else _others(config, clips, split, used, annotated)
    if annotated is not None:
        before = len(clips) if held_out == "annotations" else len(chosen)
        chosen = _annotated(chosen, annotated)
        if chosen is None:
            raise _none_annotated(config, clips, annotated)
        left_out["without annotation"] = before - len(chosen)
        left_out["annotated samples without their clip"] = annotated.missing
    if config.data.subset:
        before = len(chosen)
        chosen = _listed(config, clips, chosen, warn=warn)
        left_out["not in data.subset"] = before - len(chosen)
    left_out["files that could not be used (rejected.csv)"] = _rejected(clips)
    if trains and train is not None:
        _refuse_shared(config, train, chosen, split)
    left_out = {reason: count for reason, count in left_out.items() if count}
    return Division(train, tune, chosen, split, len(clips), held_out, left_out)


def labelled(config: RunConfig, division: Division) -> Division:
    """Returns the division with the training clips that a task may train on, ``data.labelled`` of them.

    They are drawn by the run's seed, class by class; of several labels a clip, the rarest counts.
    """
    train, share = division.train, config.data.labelled
    if train is None or share == 1:
        return division

    def draw() -> Clips:
        offsets, codes = train.label_codes()
        last = len(train.class_names)  # of a clip without labels
        rarity = np.append(np.bincount(codes, minlength=last).argsort(kind="stable").argsort(kind="stable"), last)
        strata = np.full(len(train), last)
        np.minimum.at(strata, np.repeat(np.arange(len(train)), np.diff(offsets)), rarity[codes])
        taken = share_of_each(strata, share, numpy_stream(config.seed, "labelled"))
        return train.select(np.flatnonzero(taken))

    return replace(division, train=remembered(train, ("labelled", share, config.seed), draw))


def _splits(config: RunConfig, clips: Clips, annotated: Annotated | None) -> Mapping[str, npt.NDArray[np.int64]]:
    """Returns the rows of each split; where the data names none, ``test`` is what is held out, ``train`` the rest."""

    def look() -> dict[str, npt.NDArray[np.int64]]:
        splits = np.asarray(clips.splits, dtype=np.str_)
        if not names_splits(clips):
            splits = np.where(_held_out(config, clips, annotated), "test", "train")
        rows = {name: np.flatnonzero(splits == name) for name in ("train", "tune", "test", "")}
        return {name: found for name, found in rows.items() if len(found)}

    return remembered(clips, ("splits", config.data.test_fraction, annotated), look)


def _held_out(config: RunConfig, clips: Clips, annotated: Annotated | None) -> npt.NDArray[np.bool_]:
    """Returns which clips of data without splits are held out, (n,)."""
    if annotated is not None:
        return np.array([name in annotated.clips for name in clips.ids], np.bool_)
    draws = np.array([stream_seed(0, "held out", *name.encode()) for name in clips.ids], dtype=np.float64) / 2**63
    held_out: npt.NDArray[np.bool_] = draws < config.data.test_fraction
    # Small folders: the two lowest draws are held out whatever the fraction, so that retrieval has candidates.
    held_out[np.argsort(draws, kind="stable")[:2]] = True
    return held_out


def _part(config: RunConfig, clips: Clips, split: str, annotated: Annotated | None) -> Clips | None:
    """Returns the clips of a split, or None where there are none; the same object each time."""
    rows = _splits(config, clips, annotated).get(split)
    if rows is None:
        return None
    return remembered(clips, ("part", config.data.test_fraction, annotated, split), lambda: clips.select(rows))


def _others(config: RunConfig, clips: Clips, split: str, used: set[str], annotated: Annotated | None) -> dict[str, int]:
    """Returns how many clips are of splits that the run does not use, by split."""
    if split == "all":
        return {}
    return {
        f"of split {name}" if name else "of no split": len(rows)
        for name, rows in _splits(config, clips, annotated).items()
        if name not in {split, *used}
    }


def _annotated(clips: Clips, annotated: Annotated) -> Clips | None:
    rows = [row for row, name in enumerate(clips.ids) if name in annotated.clips]
    if len(rows) == len(clips):
        return clips
    return remembered(clips, ("annotated", annotated), lambda: clips.select(rows)) if rows else None


def _none_annotated(config: RunConfig, clips: Clips, annotated: Annotated) -> InputError:
    return InputError(
        f"task.annotations: none of {annotated.samples} samples is of a judged clip of {config.data.judged.source}; ids"
        f" look like '{annotated.example}' and '{clips.ids[0]}'."
    )


def _listed(config: RunConfig, source: Clips, clips: Clips, *, warn: bool) -> Clips:
    """Returns those of the clips that ``data.subset`` lists, in their own order."""
    from avbench.data.catalogue.subset import read_subset

    text = config.data.subset
    wanted = set(read_subset(text, config.data.judged.source, source.root))
    chosen = [i for i, name in enumerate(clips.ids) if name in wanted]
    if not chosen:
        elsewhere = sum(name in wanted for name in source.ids)
        raise InputError(
            f"data.subset: found none of the {len(wanted)} clips of '{text}', valid: a list of ids such as"
            f" '{clips.ids[0]}'; data.split leaves {elsewhere} of them out."
        )
    if warn and len(chosen) < len(wanted):
        log.warning("data.subset: %d of the %d clips of '%s' are here", len(chosen), len(wanted), text)
    return remembered(clips, ("listed", tuple(chosen)), lambda: clips.select(chosen))


def _refuse_shared(config: RunConfig, train: Clips, judged: Clips, split: str) -> None:
    """Refuses to judge a task on clips that it trains on.

    Raises:
        InputError: It would be.
    """
    rows = np.flatnonzero(shared_rows(train, judged))
    if not len(rows):
        return
    some = ", ".join(judged.ids[int(row)] for row in rows[:_NAMED]) + (", ..." if len(rows) > _NAMED else "")
    shared = f"{len(rows)} of the {len(judged)} judged clips are among those that task '{config.task_name}' trains on"
    data = config.data
    if data.eval_source:
        raise InputError(
            f"--eval-data {data.eval_source}: {shared}, those of --data {data.source} ({some}), valid: other clips;"
            " take them out of one of the two."
        )
    if data.split not in ("auto", "test"):
        raise InputError(
            f"data.split: found {split}, but {shared} ({some}); valid: auto or test, the clips it does not train on."
        )
    raise InputError(
        f"--data {data.source}: {shared}, as ids are in both splits ({some}), valid: each id in one split; correct the"
        " splits, or leave one of them out."
    )


def shared_rows(train: Clips, judged: Clips) -> npt.NDArray[np.bool_]:
    """Returns which of the judged clips are among the training clips, by id, (n,)."""

    def look() -> npt.NDArray[np.bool_]:
        wanted = set(judged.ids)
        both = {name for name in train.ids if name in wanted}
        return np.array([name in both for name in judged.ids], np.bool_)

    return remembered(judged, ("shared", weakref.ref(train)), look)


def _rejected(clips: Clips) -> int:
    """Returns how many files the preparation of these clips listed as not usable."""

    def count() -> int:
        import csv

        try:
            with (Path(clips.root) / _REJECTED).open(newline="", encoding="utf-8") as handle:
                return max(0, sum(1 for _ in csv.reader(handle)) - 1)
        except (OSError, ValueError, csv.Error):
            return 0

    return remembered(clips, "rejected", count)

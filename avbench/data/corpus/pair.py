"""The clips of a run: those to train on and those to judge, of one source or of two."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips


T = TypeVar("T")
# Of clips that are open: thousands of runs share them, and hashing their rows for each would take longer than all else.
_KNOWN: weakref.WeakKeyDictionary[Clips, dict[Any, Any]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Corpus:
    """Where training clips and judged clips are taken from.

    Attributes:
        train: The clips of ``data.source``.
        judged: Those of ``data.eval_source``; the same object where that is not given.
    """

    train: Clips
    judged: Clips

    @classmethod
    def of(cls, clips: Clips | Corpus) -> Corpus:
        """Returns a corpus from itself, or from the clips of one source."""
        return clips if isinstance(clips, Corpus) else cls(clips, clips)

    @classmethod
    def pair(cls, train: Clips, judged: Clips) -> Corpus:
        """Returns a corpus of two sources, their classes called alike.

        Two manifests of the authors' name classes by mid; where only one of them has a label CSV, it is the other's,
        too, as the reference reads both with one.

        Raises:
            InputError: Both have a label CSV, and they call a class differently.
        """
        from avbench.data.corpus.authors import AuthorsClips

        if isinstance(train, AuthorsClips) and isinstance(judged, AuthorsClips):
            train, judged = AuthorsClips.alike(train, judged)
        return cls(train, judged)

    @property
    def paired(self) -> bool:
        """Whether what is judged is of another source than what trains."""
        return self.train is not self.judged


def names_splits(clips: Clips) -> bool:
    """Returns whether any of the clips has a split."""
    return remembered(clips, "names splits", lambda: bool((np.asarray(clips.splits, dtype=np.str_) != "").any()))


def remembered(clips: Clips, key: Any, make: Callable[[], T]) -> T:
    """Returns what ``make`` gives for some clips, made once; it must not hold the clips themselves.

    Args:
        clips: Whose facts these are.
        key: Names what is remembered.
        make: Makes it the first time.
    """
    known = _KNOWN.setdefault(clips, {})
    if key not in known:
        known[key] = make()
    found: T = known[key]
    return found

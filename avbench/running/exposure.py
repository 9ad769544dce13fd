"""What weights have seen of the clips that are judged: said with every number, and warned of.

Clips that a pretraining saw are no secret kept from it, but they are not held out either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.config import RunConfig
from avbench.data.corpus.pair import remembered
from avbench.errors import InputError
from avbench.running import encoded
from avbench.running.division import Division, shared_rows
from avbench.training import trained_on

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips


@dataclass(frozen=True)
class Exposure:
    """How many judged clips some training saw.

    Attributes:
        by: Which training.
        known: Whether all its clips are known.
        shared: Judged clips that it saw, of those known.
        judged: Clips that are judged.
        fix: What to do about it.
    """

    by: str
    known: bool
    shared: int
    judged: int
    fix: str

    def text(self) -> str:
        """Returns one line."""
        return f"{self.by}: trained on {self.shared:,} of the {self.judged:,} judged clips; {self.fix}"


def seen(config: RunConfig, division: Division, given: str) -> list[Exposure]:
    """Returns what is known of the judged clips in the weights' past.

    Args:
        config: The run.
        division: Its clips.
        given: The file of fine-tuned weights that the task's options give; empty: none.

    Raises:
        InputError: Those are known to have been fine-tuned on judged clips, and no split was asked for.
    """
    judged, found = division.evaluated, []
    if config.weights == "pretrained" and division.train is not None and not given:
        past = trained_on.of_init(config.train.init)
        rows = shared_rows(division.train, judged) | past.holds(_hashes(judged))
        fix = "data.split=auto judges held-out ones" if config.data.split != "auto" else "judge other clips"
        found.append(Exposure("this pretraining", past.complete, int(rows.sum()), len(judged), fix))
    if config.weights == encoded.GIVEN:  # whoever made it knows
        found.append(Exposure(f"encoder {config.method_name}", False, 0, len(judged), ""))
    for option, path in (("--checkpoint", config.checkpoint), ("task.weights", Path(given) if given else None)):
        if path is None or (option == "--checkpoint" and given):  # which then is not used
            continue
        past = trained_on.read(path)
        rows = past.holds(_hashes(judged))
        fix = "data.split or data.subset leaves them out, or judge other data"
        found.append(Exposure(f"{option} {path}", past.complete, int(rows.sum()), len(judged), fix))
        if given and rows.any() and config.data.split == "auto":
            raise InputError(
                f"{found[-1].text()}; --set data.split={division.split} evaluates them nevertheless, and says so."
            )
    return found


def told(exposures: Sequence[Exposure]) -> dict[str, Any]:
    """Returns what a record says: whether all training clips are known, and how many judged ones are among those."""
    return {
        "known": all(each.known for each in exposures),
        "shared": max((each.shared for each in exposures), default=0),
    }


def _hashes(clips: Clips) -> trained_on.Hashes:
    return remembered(clips, "hashes", lambda: trained_on.hash_clips(clips.ids))

"""What a set's user should know of clips that are whole: stills, copies, and videos that are in several splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from avbench.data.likeness.fingerprint import Fingerprints
from avbench.data.likeness.pairs import close_pairs, cosines, groups

Kind = Literal["still", "copies", "same picture", "same sound", "same video"]

# Cosine from which they are the same: between what copies have and the nearest of different clips, see docs/data.md.
SAME_PICTURE, SAME_SOUND = 0.97, 0.98
ALSO = 0.8  # from which the sound is, where the pictures are, and the other way round
_NAMED = 4  # clips in a line; the list has all
_YOUTUBE = re.compile(r"(?=[^_]*[A-Z])([\w-]{11})(_\d+){0,2}")  # VIDEO, VIDEO_START or VIDEO_START_END
_SAID = {"copies": "same picture and sound", "same picture": "same picture", "same sound": "same sound"}


@dataclass(frozen=True)
class Seen:
    """The clips of a prepared folder.

    Attributes:
        rows: ``id``, ``split`` and ``source`` of each, among others.
        prints: Their fingerprints.
        name: Of the folder.
    """

    rows: Sequence[dict[str, Any]]
    prints: Fingerprints
    name: str


@dataclass(frozen=True)
class Flag:
    """One clip that is still, or several that belong together.

    Attributes:
        kind: What is the matter.
        clips: Their ids, in the order of the folders.
        splits: The split of each, after its folder's name where there are several folders; may be empty.
        video: What the clips of one video are named after.
    """

    kind: Kind
    clips: tuple[str, ...]
    splits: tuple[str, ...]
    video: str = ""

    @property
    def across(self) -> bool:
        """Whether it is about clips of several splits."""
        return len(set(self.splits)) > 1

    @property
    def text(self) -> str:
        """The flag in one line."""
        if self.kind == "same video":
            parts = [f"{split or 'no split'} ({count})" for split, count in Counter(self.splits).items()]
            return f"same video '{self.video}' in several splits: {', '.join(parts)}"
        named = [f"{clip} ({split})" if split else clip for clip, split in zip(self.clips, self.splits, strict=True)]
        if self.kind == "still":
            return f"still picture: {named[0]}"
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        return f"{_SAID[self.kind]}: {', '.join(named[:_NAMED])}{more}"

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {"kind": self.kind, "clips": list(self.clips), "splits": list(self.splits), "across": self.across}


def find(folders: Sequence[Seen]) -> list[Flag]:
    """Returns all flags: stills, then copies, the same picture, the same sound, and videos in several splits."""
    if not folders:
        return []
    several = len(folders) > 1
    ids = [str(row["id"]) for seen in folders for row in seen.rows]
    splits = [
        f"{seen.name} {row['split']}".rstrip() if several else row["split"] for seen in folders for row in seen.rows
    ]

    def flag(kind: Kind, rows: Iterable[int], video: str = "") -> Flag:
        chosen = list(rows)
        return Flag(kind, tuple(ids[row] for row in chosen), tuple(splits[row] for row in chosen), video)

    still = np.concatenate([seen.prints.still for seen in folders])
    found = [flag("still", [row]) for row in np.flatnonzero(still).tolist()]
    for kind, pairs in _same(folders).items():
        found += [flag(kind, rows) for rows in groups(pairs)]
    found += [flag("same video", rows, video) for video, rows in _videos(folders)]
    return [each for each in found if each.kind != "same video" or each.across]


def _same(folders: Sequence[Seen]) -> dict[Kind, list[tuple[int, int]]]:
    """Returns the pairs of each kind; a pair has one."""
    pictures = np.concatenate([seen.prints.pictures for seen in folders])
    sounds = np.concatenate([seen.prints.sounds for seen in folders])
    found: dict[Kind, list[tuple[int, int]]] = {"copies": [], "same picture": [], "same sound": []}
    both = set()
    kinds: tuple[tuple[Kind, float, Any, Any], ...] = (
        ("same picture", SAME_PICTURE, pictures, sounds),
        ("same sound", SAME_SOUND, sounds, pictures),
    )
    for kind, least, these, others in kinds:
        pairs = list(close_pairs(these, least))
        a, b = np.array(pairs, np.int64).reshape(-1, 2).T
        for pair, also in zip(pairs, (cosines(others, a, b) >= ALSO).tolist(), strict=True):
            if also:
                both.add(pair)
            else:
                found[kind].append(pair)
    return found | {"copies": sorted(both)}


def _videos(folders: Sequence[Seen]) -> Iterator[tuple[str, list[int]]]:
    """Yields the clips of each video: by the file they are cut from, or by the YouTube id in their names."""
    of: dict[tuple[str, str], list[int]] = {}
    row = 0
    for number, seen in enumerate(folders):
        for clip in seen.rows:
            known = _YOUTUBE.fullmatch(clip["id"])
            name = known.group(1) if known else clip["id"]
            for key in {("", name), (str(number), clip["source"] or name)}:
                of.setdefault(key, []).append(row)
            row += 1
    said = set()
    for (_, name), rows in sorted(of.items()):
        if len(rows) > 1 and tuple(rows) not in said:
            said.add(tuple(rows))
            yield name, rows

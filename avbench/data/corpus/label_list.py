"""A CSV of labels alone, and the clips that it is of: what is known of clips whose media are not here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.csv_file import read_named
from avbench.data.corpus.split_names import SPLITS, VALID
from avbench.errors import InputError
from avbench.files import canonical_json, sha256_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = "id,label[,split]"
_NAMED = 3  # ids named in an error


class LabelledIds:
    """Clips known by id, labels and split; see :class:`avbench.data.corpus.clips.Clips`.

    Args:
        root: The CSV.
        ids: Of the clips.
        labels: Of each clip.
        splits: Of each clip.
        class_names: All classes, in the order of their indices.
    """

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        labels: Sequence[tuple[str, ...]],
        splits: Sequence[str],
        class_names: tuple[str, ...],
    ) -> None:
        self.root, self.ids, self.splits, self.class_names = root, list(ids), list(splits), class_names
        self._labels = list(labels)

    @classmethod
    def read(cls, path: Path, ids: Sequence[str], classes: Sequence[str] | None = None) -> LabelledIds:
        """Reads the labels of some clips.

        Args:
            path: CSV (or TSV) with the columns ``id``, ``label`` and perhaps ``split``; several labels are separated
                by ``;`` or given in several rows. Rows of other clips are left out.
            ids: The clips.
            classes: The names of the classes, in order; None: those of the file, in alphabetical order.

        Raises:
            InputError: It cannot be read, has no row for a clip, or a label that is no class.
        """
        labels: dict[str, list[str]] = {}
        splits: dict[str, str] = {}
        columns, rows = read_named(path, COLUMNS, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        if not {"id", "label"} <= set(columns):
            raise InputError(f"{path}: found the columns {', '.join(columns) or '(none)'}, valid: {COLUMNS}.")
        for line, row in rows:
            name, written = row["id"].strip(), row.get("split", "").strip()
            split = SPLITS.get(written.lower())
            if split is None:
                raise InputError(f"{path}:{line}: found split '{written}', valid: {VALID} (or empty).")
            if splits.setdefault(name, split) != split:
                raise InputError(f"{path}:{line}: '{name}' is of split '{splits[name]}' above; give it one.")
            own = labels.setdefault(name, [])
            own += [each for part in row["label"].split(";") if (each := part.strip()) and each not in own]
        bare = [name for name in ids if name not in labels]
        if bare:
            some = ", ".join(bare[:_NAMED]) + (", ..." if len(bare) > _NAMED else "")
            raise InputError(
                f"{path}: found no row for {len(bare)} of the {len(ids)} clips that are judged ({some}), valid: one or"
                " more a clip; leave these clips out of the .npz, or label them."
            )
        named = {each for own in labels.values() for each in own}
        known = tuple(sorted(named) if classes is None else classes)
        strange = sorted({each for name in ids for each in labels[name]} - set(known))
        if strange:
            raise InputError(
                f"{path}: found the label '{strange[0]}', valid: one of the {len(known)} classes that the .npz names."
            )
        return cls(path, ids, [tuple(labels[name]) for name in ids], [splits[name] for name in ids], known)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """Identity of ids, labels and splits."""
        rows = zip(self.ids, self.splits, self._labels, strict=True)
        return sha256_text("\n".join(sorted(canonical_json([name, split, list(own)]) for name, split, own in rows)))

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns the class names of clip ``i``."""
        return self._labels[i]

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns the labels of all clips at once, as indices of ``class_names``."""
        place = {name: i for i, name in enumerate(self.class_names)}
        offsets = np.cumsum([0, *map(len, self._labels)], dtype=np.int64)
        return offsets, np.array([place[name] for own in self._labels for name in own], np.int32)

    def duration(self, i: int) -> float:
        """Returns NaN: only the media would tell."""
        return float("nan")

    def n_frames(self, i: int) -> int:
        """Returns 0."""
        return 0

    def waveform(self, i: int) -> NoReturn:
        """Refuses: there is no sound."""
        raise InputError(f"clip '{self.ids[i]}': found no media, only its labels in {self.root}.")

    def frame(self, i: int, k: int) -> NoReturn:
        """Refuses: there is no picture."""
        self.waveform(i)

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> LabelledIds:
        """Returns the clips at ``indices``, in that order."""
        rows = [int(i) for i in indices]
        labels = [self._labels[i] for i in rows]
        ids, splits = ([values[i] for i in rows] for values in (self.ids, self.splits))
        return LabelledIds(self.root, ids, labels, splits, self.class_names)

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return hash_ids(self.ids)

"""One data set of the catalogue: a YAML file of this folder, read when it is asked for.

Counts of the papers are those of their training logs (docs/protocol/cavmae.md 2.1). Class names are in the official
order, in ``classes/NAME.txt``: one ``id<TAB>name`` a line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from avbench.config import HAS, MODALITIES
from avbench.errors import InputError, unknown
from avbench.yaml_text import read_yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class ListFile:
    """One official list of clips.

    Attributes:
        files: Its official name first, then others it goes by.
        format: How it is read; a key of :data:`avbench.data.catalogue.rows.READERS`.
        split: The split of its rows; "" where its rows say, or where there is none.
        covers: The parts of the set it lists; of two files with the same part the first that is there is read.
        fold: Of which published fold it is; 0: of none, or its rows say.
    """

    files: tuple[str, ...]
    format: str
    split: str = ""
    covers: tuple[str, ...] = ()
    fold: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """``covers``, or the split."""
        return self.covers or (self.split,)


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Clips that a protocol evaluates on, and the file that names them.

    Attributes:
        files: The file's official name first, then others it goes by.
        format: How it is read, as in :class:`ListFile`.
        count: Number of ids.
        ids_sha256: Hash of the sorted ids, as in a result's ``ids_sha256``.
        obtain: Where the file is from.
    """

    files: tuple[str, ...]
    format: str
    count: int
    ids_sha256: str
    obtain: str


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set.

    Attributes:
        name: What ``--data`` takes.
        title: The name in the papers.
        summary: One line.
        obtain: How to get media and lists, in words.
        licence: Of annotations and media.
        folder: What is expected below the root.
        id: What an id looks like.
        lists: Official lists; none for the embedded set.
        modalities: What its clips are taken to have; of a set of sounds, ``audio`` alone.
        folds: Published divisions into training and test clips, of which a run judges one (``data.fold``); 0: none.
        media: ``video``: one file with both; ``stills``: a picture and a sound file; ``made``: generated.
        classes_file: Stem of the class list; "" without classes.
        multi_label: Whether a clip may have several labels.
        metric: The metric of the papers.
        official: Split -> clips in the official list.
        paper: Split -> clips the CAV-MAE paper had.
        audio_mean: Mean of the log-mel spectrogram, as the papers normalise it; None: not stated.
        audio_std: Standard deviation of the same.
        tasks: What it is used for.
        subsets: Name -> subset.
        mirrors: Copies on the Hugging Face Hub that are named elsewhere, and what is known to be wrong with them.
        traps: What goes wrong with it.
        source: Where the figures are from.
    """

    name: str
    title: str
    summary: str
    obtain: str
    licence: str
    folder: str
    id: str
    source: str
    lists: tuple[ListFile, ...] = ()
    modalities: tuple[str, ...] = MODALITIES
    folds: int = 0
    media: str = "video"
    classes_file: str = ""
    multi_label: bool = False
    metric: str = ""
    official: Mapping[str, int] = field(default_factory=dict)
    paper: Mapping[str, int] = field(default_factory=dict)
    audio_mean: float | None = None
    audio_std: float | None = None
    tasks: tuple[str, ...] = ()
    subsets: Mapping[str, Subset] = field(default_factory=dict)
    mirrors: tuple[str, ...] = ()
    traps: tuple[str, ...] = ()

    @functools.cached_property
    def classes(self) -> tuple[tuple[str, str], ...]:
        """(id, name) of each class, in the official order; empty without classes."""
        if not self.classes_file:
            return ()
        text = (FOLDER / "classes" / f"{self.classes_file}.txt").read_text(encoding="utf-8")
        return tuple((line.split("\t")[0], line.split("\t")[1]) for line in text.splitlines())

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the official order."""
        return tuple(name for _, name in self.classes)

    @functools.cached_property
    def _spellings(self) -> dict[str, str]:
        return dict(self.classes) | {_loose(name): name for name in self.class_names}

    @property
    def facts(self) -> str:
        """Summary, clips of the official list, classes, metric and tasks, in one line."""
        clips = ", ".join(f"{count:,}{f' {split}' if split else ''}" for split, count in self.official.items())
        known = [f"{clips} clips"] if clips else []
        known += [f"{len(self.classes)} classes"] if self.classes_file else []
        known += [f"{self.folds} folds"] if self.folds else []
        known += [self.metric] if self.metric else []
        known += [HAS[self.modalities]]
        return f"{self.summary} ({'; '.join([*known, 'tasks: ' + ', '.join(self.tasks)])})"

    def class_name(self, written: str) -> str:
        """Returns the official name of a class that is written as its id, its name, or with ``_`` for ``,`` or blank.

        Raises:
            InputError: There is no such class.
        """
        text = written.strip()
        found = self._spellings.get(text) or self._spellings.get(_loose(text))
        if found is None:
            raise unknown(f"class of {self.name}", text, self.class_names)
        return found

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are counted, train first."""
        return tuple(split for split in ("train", "tune", "test", "") if split in self.official)


def _loose(name: str) -> str:
    return re.sub(r"[\s_,]+", " ", name).strip().casefold()


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of all data sets."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@functools.cache
def entry(name: str) -> DataSet:
    """Returns a data set of the catalogue.

    Raises:
        InputError: There is none of this name.
    """
    if name not in names():
        raise unknown("data set", name, names())
    path = FOLDER / f"{name}.yaml"
    found: DataSet = _build(DataSet, {"name": name} | read_yaml(path), path)
    return found


def _build(kind: type[Any], values: Mapping[str, Any], path: Path) -> Any:
    """Makes one of the dataclasses above from a mapping of YAML."""
    extra = sorted(set(values) - {f.name for f in fields(kind)})
    if extra:
        raise InputError(f"{path}: unknown key '{extra[0]}'; valid: {', '.join(f.name for f in fields(kind))}.")
    done: dict[str, Any] = {}
    for key, value in values.items():
        if key == "lists":
            done[key] = tuple(_build(ListFile, item, path) for item in value)
        elif key == "subsets":
            done[key] = {name: _build(Subset, item, path) for name, item in value.items()}
        elif isinstance(value, list):
            done[key] = tuple(value)
        else:
            done[key] = value.strip() if isinstance(value, str) else value
    return kind(**done)

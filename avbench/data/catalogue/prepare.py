"""From a folder with the files of a known data set to a prepared one, and the account of what was there."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.data.catalogue.entry import DataSet
from avbench.data.catalogue.join import Joined, find_lists, find_media, join
from avbench.data.catalogue.rows import read_rows
from avbench.data.catalogue.stills import find_stills, write_stills
from avbench.data.corpus.folds import write_folds
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.errors import InputError
from avbench.files import write_json, write_text
from avbench.settings import change

if TYPE_CHECKING:
    from avbench.data.prepare.driver import ShareReport
    from avbench.data.prepare.share import PartShare

CLASSES = "classes.txt"
MISSING = "missing.txt"  # ids of the official list without a file
BROKEN = "broken.csv"  # id, reason
ACCOUNT = "catalogue.json"


@dataclass(frozen=True)
class Count:
    """Clips of one split; ``broken`` and ``usable`` are None where nothing was decoded.

    Attributes:
        split: train, tune, test or "".
        listed: In the official list that was read.
        official: In the official list by the catalogue; None: not stated.
        paper: In the CAV-MAE paper; None: not stated.
        here: With a file.
        missing: Without one.
        broken: With a file that cannot be used.
        usable: That were prepared.
    """

    split: str
    listed: int
    official: int | None
    paper: int | None
    here: int
    missing: int
    broken: int | None = None
    usable: int | None = None


@dataclass(frozen=True)
class Account:
    """What there is of a data set.

    Attributes:
        name: The data set.
        folder: The prepared folder; None where nothing was written.
        lists: The official lists that were read.
        unread: Parts of the set whose list was not found.
        counts: One a split.
        extra: Files that are no clip of the list.
        ambiguous: Files whose name fits several clips.
        duplicates: Files of a clip that has another one.
        reasons: Id to reason, for clips that cannot be used.
    """

    name: str
    folder: Path | None
    lists: tuple[Path, ...]
    unread: tuple[str, ...]
    counts: tuple[Count, ...]
    extra: tuple[str, ...]
    ambiguous: tuple[str, ...]
    duplicates: tuple[str, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)


def prepare_set(
    entry: DataSet,
    root: Path,
    out: Path,
    settings: PrepareSettings,
    *,
    lists: Sequence[Path] = (),
    dry_run: bool = False,
    workers: int = -1,
    progress: bool = True,
) -> Account:
    """Joins the files below ``root`` to the official list, prepares them and counts.

    Beside what ``avbench data prepare`` writes, ``out`` gets ``classes.txt`` (id, tab, name, in the official order),
    ``missing.txt``, ``broken.csv`` and ``catalogue.json``, the account.

    Args:
        entry: The data set.
        root: Its folder.
        out: The folder to write.
        settings: How videos are prepared; not used for sets of pictures.
        lists: Official lists, or folders with them; empty: looked for in ``root``.
        dry_run: Only join and count.
        workers: Processes; -1: one a core.
        progress: Show progress.

    Raises:
        InputError: There is no list or no clip of it, or ``out`` holds something else.
    """
    _check(entry, root, settings)
    read = find_lists(entry, root, lists)
    rows = read_rows(entry, read)
    sounds: dict[str, str] = {}
    if entry.media == "stills":
        joined, sounds = find_stills(rows, root)
    else:
        joined = join(rows, find_media(entry, root, out))
    broken: dict[str, str] | None = None
    if not dry_run:
        if not joined.files:
            raise InputError(_nothing(entry, root, joined))
        if entry.media == "stills":
            broken = write_stills(joined, sounds, out)
        else:
            broken = _prepare_videos(joined, out, _fitting(entry, settings), workers, progress)
    parts = {part for which, _ in read for part in which.parts}
    unread = {which.files[0]: None for which in entry.lists if not parts & set(which.parts)}
    account = Account(
        name=entry.name,
        folder=None if dry_run else out,
        lists=tuple(path for _, path in read),
        unread=tuple(unread),
        counts=_counts(entry, joined, broken),
        extra=joined.extra,
        ambiguous=joined.ambiguous,
        duplicates=joined.duplicates,
        reasons=broken or {},
    )
    if not dry_run:
        if entry.classes:
            write_text(out / CLASSES, "".join(f"{id}\t{name}\n" for id, name in entry.classes))
        if entry.folds:
            write_folds(out, ((id, rows[id].folds) for id in joined.files))
        write_text(out / MISSING, "".join(f"{id}\n" for id in joined.missing))
        _write_broken(out / BROKEN, account.reasons)
        write_json(out / ACCOUNT, to_json(account))
    return account


def prepare_set_share(
    entry: DataSet,
    root: Path,
    out: Path,
    share: PartShare,
    settings: PrepareSettings,
    *,
    lists: Sequence[Path] = (),
    workers: int = -1,
    progress: bool = True,
) -> ShareReport:
    """Joins as :func:`prepare_set` does and writes a share of the shards; that function then finishes the folder.

    Args:
        entry: The data set.
        root: Its folder.
        out: The folder to write; other processes may write other shares of it.
        share: Which shards.
        settings: How videos are prepared.
        lists: Official lists, or folders with them; empty: looked for in ``root``.
        workers: Processes; -1: one a core.
        progress: Show progress.

    Raises:
        InputError: As :func:`prepare_set`; or the set is one of pictures, which has no shards.
    """
    from avbench.data.prepare.driver import prepare_share

    _check(entry, root, settings)
    if entry.media == "stills":
        raise InputError(
            f"--part: found {share} with {entry.name}, valid: a set of videos; pictures are prepared by one process."
        )
    joined = join(read_rows(entry, find_lists(entry, root, lists)), find_media(entry, root, out))
    if not joined.files:
        raise InputError(_nothing(entry, root, joined))
    with _table(joined) as table:
        return prepare_share(table, out, share, _fitting(entry, settings), workers=workers, progress=progress)


def _check(entry: DataSet, root: Path, settings: PrepareSettings) -> None:
    if not entry.lists:
        raise InputError(f"{entry.name}: made by this program, nothing to prepare; use it as --data {entry.name}.")
    if not root.is_dir():
        raise InputError(f"--root {root}: no such folder, valid: the folder with the files of {entry.title}.")
    if settings.window:
        raise InputError(
            f"--window: found {settings.window:g}, valid: 0 for a set of the catalogue, whose clips have official ids."
        )


def _fitting(entry: DataSet, settings: PrepareSettings) -> PrepareSettings:
    """Returns the settings with the modality that the set is of, where they leave it open."""
    if settings.modality != "auto":
        return settings
    return change(settings, {"modality": entry.modalities[0] if len(entry.modalities) == 1 else "both"})


def _nothing(entry: DataSet, root: Path, joined: Joined) -> str:
    seen = f"; found others, such as {Path(joined.extra[0]).name}" if joined.extra else ""
    return f"{root}: no file of the {len(joined.rows)} clips of {entry.title}{seen}, valid: {entry.folder}."


def _prepare_videos(
    joined: Joined, out: Path, settings: PrepareSettings, workers: int, progress: bool
) -> dict[str, str]:
    """Prepares the joined files; returns id to reason for those that were rejected."""
    from avbench.data.prepare.driver import prepare

    with _table(joined) as table:
        prepare(table, out, settings, workers=workers, progress=progress)
    id_of = {_printable(path): id for id, path in joined.files.items()}
    reasons: dict[str, str] = {}
    with (out / "rejected.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            reasons.setdefault(id_of[row["file"]], row["reason"])
    return reasons


def _printable(path: str) -> str:
    # As names that are not UTF-8 are written into tables.
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _table(joined: Joined) -> Iterator[Path]:
    """A CSV of the joined files, as preparing takes it; deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.csv"
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
            writer = csv.writer(handle)
            writer.writerow(["file", "id", "label", "split"])
            for id, file in joined.files.items():
                row = joined.rows[id]
                writer.writerow([file, id, ";".join(row.labels), row.split])
        yield path


def _write_broken(path: Path, reasons: Mapping[str, str]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "reason"])
    writer.writerows(sorted(reasons.items()))
    write_text(path, buffer.getvalue())


def _counts(entry: DataSet, joined: Joined, broken: Mapping[str, str] | None) -> tuple[Count, ...]:
    listed = Counter(row.split for row in joined.rows.values())
    here = Counter(joined.rows[id].split for id in joined.files)
    bad = Counter(joined.rows[id].split for id in broken or ())
    order = ("train", "tune", "test", "")
    return tuple(
        Count(
            split=split,
            listed=listed[split],
            official=entry.official.get(split),
            paper=entry.paper.get(split),
            here=here[split],
            missing=listed[split] - here[split],
            broken=None if broken is None else bad[split],
            usable=None if broken is None else here[split] - bad[split],
        )
        for split in order
        if split in listed or split in entry.official
    )


def to_json(account: Account) -> dict[str, object]:
    """Returns an account as JSON."""
    return {
        "name": account.name,
        "folder": None if account.folder is None else str(account.folder),
        "lists": [str(path) for path in account.lists],
        "lists_not_found": list(account.unread),
        "counts": {count.split or "all": vars(count) for count in account.counts},
        "not_in_the_list": len(account.extra),
        "ambiguous": [_printable(path) for path in account.ambiguous],
        "duplicates": [_printable(path) for path in account.duplicates],
        "broken": dict(account.reasons),
    }

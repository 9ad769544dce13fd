"""What to prepare: the media files of a folder, or of a CSV, with their ids, labels and splits."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from avbench.data.corpus.csv_file import check_utf8, read_named
from avbench.data.corpus.split_names import SPLITS, VALID
from avbench.data.media.prepare_settings import PICTURES
from avbench.data.prepare.packed import Packed
from avbench.data.prepare.samples import SOUNDS, TABLES, VIDEOS, Member, containers, printable
from avbench.data.prepare.tar_shards import read_shard
from avbench.errors import InputError
from avbench.files import canonical_json, sha256_text

#: File name endings that are taken for media in a folder; a CSV may name any file.
SUFFIXES = VIDEOS | SOUNDS


@dataclass(frozen=True)
class SourceFile:
    """One media file.

    Attributes:
        path: Where it is, absolute; the shard or table that holds it.
        name: Path below the source (or as the CSV writes it), with ``/``, always valid Unicode.
        id: As the CSV states it; else its stem where that is unique in the source, else its path with ``__`` for ``/``.
        labels: Its labels, possibly none.
        split: ``train``, ``tune``, ``test`` or "".
        packed: Where it is in that; None: it is a file of its own.
    """

    path: str
    name: str
    id: str
    labels: tuple[str, ...]
    split: str
    packed: Packed | None = None


@dataclass(frozen=True)
class Listing:
    """All files of a source, sorted by name, and the hash of what was listed (names, sizes, labels, splits)."""

    files: tuple[SourceFile, ...]
    sha256: str


def list_source(source: Path, exclude: Path | None = None) -> Listing:
    """Lists a folder of media files, a CSV that names them, or shards or tables that hold them.

    In a folder, a file's first sub-folder is its label; files directly in it have none. Hidden files and folders are
    left out, and pictures (.jpg, .png) unless there is nothing else: beside videos they are previews. A CSV has the
    columns ``file``, ``label`` and optionally ``split`` and ``id``; paths are relative to the CSV, several labels are
    separated by ``;`` or given in several rows. A folder without media files may hold WebDataset shards (.tar), or
    tables that ``datasets`` wrote (.parquet, .arrow); one of these may be named, too.

    Args:
        source: Folder, CSV, shard or table.
        exclude: A folder to leave out, such as the output.

    Raises:
        InputError: There is no such folder or CSV, it is malformed, or it names no file.
    """
    if held := containers(source, exclude):
        entries = _list_packed(held, source)
    elif source.is_dir():
        entries = _list_folder(source, exclude, SUFFIXES)
        if all(name.endswith("/") for name in entries):
            entries |= _list_folder(source, exclude, PICTURES)
        if all(name.endswith("/") for name in entries):
            closed = f"; {next(iter(entries))} cannot be read" if entries else ""
            raise InputError(
                f"{source}: found no media file{closed}, valid: a folder with videos (.mp4, .webm, .mkv, .avi ...),"
                " sounds (.wav, .flac, .mp3 ...), pictures (.jpg, .png ...), .tar shards or .parquet tables of them in"
                " it or its sub-folders, or a CSV that names them."
            )
    elif source.is_file() and source.suffix.lower() in (".csv", ".tsv"):
        entries = _list_csv(source)
    else:
        found = "a file that is not .csv" if source.exists() else "nothing there"
        raise InputError(
            f"{source}: found {found}, valid: a folder of videos, a CSV with columns file,label[,split], a shard"
            " (.tar) or a table (.parquet, .arrow) of videos."
        )
    names = sorted(entries)
    stated = {name: entries[name].id for name in names if entries[name].id}
    ids = stated or _ids([name for name in names if not name.endswith("/")])
    files = tuple(
        SourceFile(
            entries[name].path,
            name,
            ids.get(name, name),
            tuple(entries[name].labels),
            entries[name].split,
            entries[name].packed,
        )
        for name in names
    )
    listed = [[f.name, _size(f), f.labels, f.split, *([f.id] if stated else [])] for f in files]
    return Listing(files, sha256_text(canonical_json(listed)))


def _size(file: SourceFile) -> int:
    if file.packed is not None:
        return file.packed.size
    path = file.path
    try:
        return Path(path).stat().st_size if Path(path).is_file() else -1
    except OSError:
        return -1


def _list_packed(held: list[Path], source: Path) -> dict[str, Member]:
    from avbench.data.prepare.tables import read_table  # pyarrow takes a while

    entries: dict[str, Member] = {}
    for path in held:
        entries |= (read_table if path.name.lower().endswith(TABLES) else read_shard)(path, source)
    first = next(iter(entries.values()), Member("", [], ""))
    if all(entry.packed is not None and entry.packed.refusal for entry in entries.values()):
        reason = f" ({next(iter(entries))}: {first.packed.refusal})" if first.packed else ""
        raise InputError(f"{source}: found no clip in {len(held)} shards or tables{reason}, valid: KEY.mp4 in shards.")
    twice = next((id for id, n in Counter(e.id for e in entries.values() if e.id).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"{source}: found the id '{twice}' for several clips, valid: one clip an id.")
    return entries


def _list_folder(source: Path, exclude: Path | None, suffixes: frozenset[str]) -> dict[str, Member]:
    entries: dict[str, Member] = {}
    seen: set[str] = set()
    without = exclude.resolve() if exclude else None

    def closed(error: OSError) -> None:
        # Listed under a name that no file can have, and so rejected with the reason rather than overlooked.
        path = Path(error.filename)
        relative = path.relative_to(source)
        labels = [printable(relative.parts[0])] if relative.parts else []
        entries[printable(relative.as_posix()) + "/"] = Member(str(path.absolute()), labels, "")

    for folder, folders, files in os.walk(source, followlinks=True, onerror=closed):
        real = os.path.realpath(folder)
        if real in seen or Path(real) == without:  # a link back to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            path = Path(folder) / file
            if file.startswith("."):
                continue
            # A link that leads nowhere without an ending may have been a folder of videos.
            lost = not path.suffix and path.is_symlink() and not path.exists()
            if path.suffix.lower() not in suffixes and not lost:
                continue
            relative = path.relative_to(source)
            labels = [printable(relative.parts[0])] if len(relative.parts) > 1 else []
            entries[printable(relative.as_posix())] = Member(str(path.absolute()), labels, "")
    return entries


def _list_csv(source: Path) -> dict[str, Member]:
    entries: dict[str, Member] = {}
    valid = "file,label[,split]"
    written_columns, rows = read_named(
        source, valid, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", raw=True
    )
    columns = [column.lower() for column in written_columns]
    if "file" not in columns:
        raise InputError(f"{source}: found the columns {', '.join(columns) or '(none)'}, valid: {valid}.")
    for line, cells in rows:
        row = {column.lower(): cell for column, cell in cells.items()}
        for column, cell in row.items():
            # The name of a file may be any bytes, if there is such a file.
            if column != "file" or not os.path.lexists(source.parent / cell.strip()):
                check_utf8(source, line, cell, valid)
        name = (row["file"] or "").strip()
        if not name:
            raise InputError(f"{source}:{line}: found no file name, valid: file,label[,split].")
        written = (row.get("split") or "").strip()
        split = SPLITS.get(written.lower())
        if split is None:
            raise InputError(f"{source}:{line}: found split '{written}', valid: {VALID} (or empty).")
        labels = [label.strip() for label in (row.get("label") or "").split(";") if label.strip()]
        id = printable((row.get("id") or "").strip())
        if "id" in columns and not id:
            raise InputError(f"{source}:{line}: found no id, valid: one a file, or no column id.")
        entry = entries.setdefault(
            printable(Path(name).as_posix()), Member(str((source.parent / name).absolute()), [], split, id)
        )
        if entry.id != id:
            raise InputError(f"{source}:{line}: '{name}' has the id '{id}' here and '{entry.id}' above; give it one.")
        if entry.split != split:
            raise InputError(
                f"{source}:{line}: '{name}' has the split '{split}' here and '{entry.split}' above; give it one."
            )
        entry.labels += [label for label in labels if label not in entry.labels]
    twice = next(
        (id for id, count in Counter(entry.id for entry in entries.values()).items() if id and count > 1), None
    )
    if twice is not None:
        raise InputError(f"{source}: found the id '{twice}' for several files, valid: one file an id.")
    if not entries:
        raise InputError(f"{source}: found a header and no rows, valid: one row a media file.")
    if not any(os.path.lexists(entry.path) for entry in entries.values()):
        first = next(iter(entries.values())).path
        raise InputError(f"{source}: none of its {len(entries)} files exists (first: {first}); paths start at the CSV.")
    return entries


def _ids(names: list[str]) -> dict[str, str]:
    """Gives each name the shortest of stem, path without suffix and path that no other name could also have."""
    choices = {
        name: [
            PurePosixPath(name).stem,
            name.removesuffix(PurePosixPath(name).suffix).replace("/", "__"),
            name.replace("/", "__"),
        ]
        for name in names
    }
    counts = Counter(choice for options in choices.values() for choice in dict.fromkeys(options))
    return {name: next((c for c in options if counts[c] == 1), name) for name, options in choices.items()}

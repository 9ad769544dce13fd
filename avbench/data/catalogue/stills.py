"""Sets of a picture and a sound file for each sample, made into clips: a manifest in the authors' layout and links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from av.error import FFmpegError

from avbench.data.catalogue.join import Joined, find_files
from avbench.data.catalogue.reading import AnnotationRow
from avbench.data.prepare.samples import SOUNDS
from avbench.errors import InputError
from avbench.files import atomic_folder, write_json

PICTURES = frozenset((".jpg", ".jpeg", ".png"))
MANIFEST = "manifest.json"
# Ground truth often has the names of the pictures.
_TRUTH = re.compile(r"(^|[_-])(gt|masks?|annotations?|seg|segmentations?)([_-]|$)", re.IGNORECASE)
_FRAME = re.compile(r"\.mp4_(\d+)$")  # AVSBench MS3 calls frame K of CLIP CLIP.mp4_K.png, and its mask CLIP_K.png


def find_stills(rows: Mapping[str, AnnotationRow], root: Path) -> tuple[Joined, dict[str, str]]:
    """Finds picture and sound of each sample by their names, in any sub-folder.

    Args:
        rows: Id to row.
        root: The set's folder.

    Returns:
        The samples that have both, by picture; and id to sound file.
    """
    pictures = _by_stem(root, PICTURES)
    sounds = _by_stem(root, SOUNDS)
    there = {id: pictures[row.picture] for id, row in rows.items() if row.picture in pictures and row.sound in sounds}
    used = {row.picture for row in rows.values()}
    extra = tuple(path for stem, path in pictures.items() if stem not in used)
    return Joined(rows, there, extra), {id: sounds[rows[id].sound] for id in there}


def _by_stem(root: Path, suffixes: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in find_files(root, suffixes):
        path = Path(name)
        if not any(_TRUTH.search(part) for part in path.relative_to(root.resolve()).parts[:-1]):
            found.setdefault(_FRAME.sub(r"_\1", path.stem), name)
    return found


def write_stills(joined: Joined, sounds: Mapping[str, str], out: Path) -> dict[str, str]:
    """Reads every picture and sound once and writes ``manifest.json`` and the links ``frame_0/ID.jpg``.

    Args:
        joined: The samples that have both files.
        sounds: Id to sound file.
        out: The folder to write; one that this function wrote before is replaced.

    Returns:
        Id to reason, for those that cannot be read; they are left out.

    Raises:
        InputError: ``out`` holds something else, or no sample can be read.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise InputError(f"{out}: found something that was not prepared from a data set; choose another --out.")
    with ThreadPoolExecutor() as pool:
        paths = sorted({*joined.files.values(), *sounds.values()})
        reasons = {path: reason for path, reason in zip(paths, pool.map(_problem, paths), strict=True) if reason}
    broken = {
        id: reasons.get(path) or reasons[sounds[id]]
        for id, path in joined.files.items()
        if path in reasons or sounds[id] in reasons
    }
    usable = [id for id in joined.files if id not in broken]
    if not usable:
        raise InputError(
            f"{out}: none of {len(joined.files)} samples can be read, such as {next(iter(broken.items()))}."
        )
    with atomic_folder(out) as folder:
        (folder / "frame_0").mkdir()
        for id in usable:
            (folder / "frame_0" / f"{id}.jpg").symlink_to(joined.files[id])
        # Labels are their own names: a name may hold a comma, which would part it.
        data = [{"video_id": id, "wav": sounds[id], "video_path": ".", "labels": ""} for id in usable]
        write_json(folder / MANIFEST, {"data": data})
    return broken


def _problem(path: str) -> str:
    """Returns why a picture or sound cannot be read; "" where it can."""
    from avbench.data.media.jpeg import decode_jpeg
    from avbench.data.media.waveform import read_sound

    try:
        if Path(path).suffix.lower() in PICTURES:
            decode_jpeg(Path(path).read_bytes())
        else:
            read_sound(Path(path))
    except (FFmpegError, OSError, SyntaxError, ValueError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""

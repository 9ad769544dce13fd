"""WebDataset shards as a source: ``KEY.mp4``, ``KEY.wav``, ``KEY.jpg``, and labels in ``KEY.json`` or ``KEY.cls``.

Only headers are read, and the small members that hold labels. Nothing is unpacked here, and what is later goes into
files under names of ours: links, devices and names that leave the archive are refused by name all the same, as they
are no clips.
"""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from avbench.data.corpus.split_names import SPLITS
from avbench.data.prepare.packed import Packed, PackedSpan
from avbench.data.prepare.samples import Member, TarSample, label_in, labels_of, printable, relative, split_of

log = logging.getLogger("avbench")
_LARGEST_LABEL = 2**20  # bytes of a .json or .cls
_BLOCK = 512  # bytes, of tar


def read_shard(path: Path, source: Path) -> dict[str, Member]:
    """Returns the clips of a shard by name, ``SHARD/KEY.mp4``, and what is wrong with it under its own.

    Args:
        path: The shard.
        source: The folder that names begin in, or the shard.
    """
    name = relative(path, source)
    entries: dict[str, Member] = {}
    samples: dict[str, TarSample] = {}
    texts: dict[str, dict[str, bytes]] = {}

    def refuse(what: str, reason: str) -> None:
        entries[what] = Member(str(path.absolute()), [], "", packed=Packed(refusal=reason))

    try:
        with path.open("rb") as handle, tarfile.open(fileobj=handle, mode="r:") as archive:
            for member in _members(archive, handle):
                shown = f"{name}/{printable(member.name)}"
                if member.isdir():
                    continue
                if fault := _fault(member):
                    refuse(shown, fault)
                    continue
                inside = PurePosixPath(member.name)
                stem, _, ending = inside.name.partition(".")
                if not stem or inside.name.startswith("._"):
                    continue  # hidden, as in a folder
                key, suffix = str(inside.with_name(stem)), "." + ending.rpartition(".")[2].lower()
                sample = samples.setdefault(key, TarSample())
                if suffix in (".json", ".cls") and member.size <= _LARGEST_LABEL:
                    content = archive.extractfile(member)
                    texts.setdefault(key, {})[suffix] = content.read() if content is not None else b""
                sample.parts.setdefault(suffix, PackedSpan(str(path.absolute()), member.offset_data, member.size))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        reason = _compressed(path) or f"damaged shard: {said}; {len(samples)} samples before"
        log.warning("%s: %s", path, reason)
        refuse(name, reason)
    for key, sample in samples.items():
        packed = sample.packed()
        shown = f"{name}/{printable(key)}{packed.suffix}"
        labels, split, fault = _told(texts.get(key, {}))
        packed = Packed(refusal=fault) if fault else packed
        entries[shown] = Member(str(path.absolute()), labels, split or split_of(name), packed=packed)
    return entries


def _members(archive: tarfile.TarFile, handle: Any) -> Iterator[tarfile.TarInfo]:
    """Yields the members.

    Raises:
        TarError: The archive ends or is damaged before its end mark, which tarfile would pass over in silence.
    """
    yield from archive
    handle.seek(archive.offset)
    mark = handle.read(_BLOCK)
    if mark.strip(b"\0") or not mark:
        raise tarfile.ReadError(f"{'cut off' if not mark else 'no header'} at byte {archive.offset}")


def _fault(member: tarfile.TarInfo) -> str:
    """Returns why a member is refused, or nothing."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        return "name leaves the archive"
    if member.issym() or member.islnk():
        return f"link: to {printable(member.linkname)[:80]}"
    if not member.isreg() or member.issparse():
        return "not a plain file"
    return ""


def _compressed(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            packed = handle.read(4).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd"))
    except OSError:
        return ""
    return "compressed shard: unpack it to plain .tar first" if packed else ""


def _told(texts: dict[str, bytes]) -> tuple[list[str], str, str]:
    """Returns labels and split of a sample, and what is wrong with what tells them."""
    row: Any = {}
    try:
        if ".json" in texts:
            row = json.loads(texts[".json"])
        label = label_in(row) if isinstance(row, dict) else None
        if ".cls" in texts and label is None:
            label = texts[".cls"].decode()
    except (ValueError, RecursionError):
        return [], "", "unreadable label: its .json or .cls"
    written = str(row.get("split") or "").strip() if isinstance(row, dict) else ""
    split = SPLITS.get(written.lower())
    if isinstance(label, dict) or split is None:
        return [], "", f"unreadable label: found {'a mapping' if split is not None else f'split {written[:40]}'}"
    return labels_of(label), split, ""

"""The parts of a prepared folder: how a source is cut into them, and one shard and its rows for each."""

from __future__ import annotations

import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from avbench.data.corpus.shards import ShardWriter, member_key
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.prepare.payload import Done, EncodedClip, Message, Refusal
from avbench.data.prepare.pool import Decoders
from avbench.data.prepare.source import Listing, SourceFile
from avbench.data.progress import Progress
from avbench.files import atomic_path, canonical_json, write_sealed

# Bounds of a part, in files: small sets still keep several processes busy, large ones get few, large shards.
_PARTS, _SMALLEST, _LARGEST = 128, 4, 256
# Results that wait for an earlier file to finish, bytes; above it the other processes are made to wait.
_MAX_WAITING = 1 << 30


def cut(listing: Listing) -> list[range]:
    """Returns the files of each part, as indices of the listing; it depends on nothing but their number."""
    total = len(listing.files)
    size = min(max(-(-total // _PARTS), _SMALLEST), _LARGEST)
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


def part_path(out: Path, number: int) -> Path:
    """Returns where a part's rows are; the part is done when it is there."""
    return out / "parts" / f"{number:06d}.json"


def write_parts(
    listing: Listing, numbers: Sequence[int], out: Path, settings: PrepareSettings, workers: int, progress: bool
) -> int:
    """Decodes and writes those parts of ``numbers`` that are not done, and returns how many that were.

    Args:
        listing: The source.
        numbers: Parts that no other process writes.
        out: The folder; what a killed process left of these parts is deleted.
        settings: How.
        workers: Processes.
        progress: Show progress.

    Raises:
        RunError: No decoding process could be started.
    """
    parts = cut(listing)
    mine = frozenset(numbers)
    for folder in (out / "shards", out / "parts"):
        for leftover in folder.glob(".*.tmp"):
            begin = leftover.name[1:].partition(".")[0]
            if begin.isdecimal() and int(begin) in mine:
                leftover.unlink(missing_ok=True)
    missing = [(number, parts[number]) for number in numbers if not part_path(out, number).exists()]
    jobs = [(index, listing.files[index].packed or listing.files[index].path) for _, part in missing for index in part]
    if not jobs:
        return 0
    total = sum(len(parts[number]) for number in numbers)
    with (
        Progress("prepare", total, done=total - len(jobs), enabled=progress) as bar,
        Decoders(jobs, settings, workers) as pool,
    ):
        results = _InOrder(pool, bar)
        for number, part in missing:
            _write_part(number, [(listing.files[index], results.of(index)) for index in part], out, settings)
    return len(missing)


class _InOrder:
    """Sorts the pool's messages by file, holding back those that come early."""

    def __init__(self, pool: Decoders, bar: Progress) -> None:
        self._pool, self._bar = pool, bar
        self._waiting: defaultdict[int, deque[Message]] = defaultdict(deque)
        self._held = self._clips = self._rejected = 0

    def of(self, index: int) -> Iterator[Message]:
        """Yields the clips and refusals of one file, waiting for them."""
        while True:
            while not self._waiting[index]:
                for job, message in self._pool.messages(only=index if self._held > _MAX_WAITING else None):
                    self._waiting[job].append(message)
                    self._count(message)
            message = self._waiting[index].popleft()
            if isinstance(message, Done):
                del self._waiting[index]
                return
            self._held -= message.size if isinstance(message, EncodedClip) else 0
            yield message

    def _count(self, message: Message) -> None:
        if isinstance(message, EncodedClip):
            self._held += message.size
            self._clips += 1
        elif isinstance(message, Refusal):
            self._rejected += 1
        self._bar.step(f"{self._clips} clips, {self._rejected} rejected", count=int(isinstance(message, Done)))


def _write_part(
    number: int, files: list[tuple[SourceFile, Iterator[Message]]], out: Path, settings: PrepareSettings
) -> None:
    shard = f"shards/{number:06d}.tar"
    rows: list[dict[str, Any]] = []
    rejected: list[list[Any]] = []
    with atomic_path(out / shard) as temporary, temporary.open("wb") as handle:
        writer = ShardWriter(handle)
        for file, messages in files:
            for message in messages:
                if isinstance(message, EncodedClip):
                    rows.append(_write_clip(writer, shard, file, message, settings))
                elif isinstance(message, Refusal):
                    rejected.append([file.name, message.start, message.reason])
        writer.close()
    if not rows:
        (out / shard).unlink()
    write_sealed(part_path(out, number), {"rows": rows, "rejected": rejected})


def _clip_id(file: SourceFile, start: float, settings: PrepareSettings) -> str:
    if not settings.window:
        return file.id
    whole = settings.step == int(settings.step)
    return f"{file.id}_{int(start):06d}" if whole else f"{file.id}_{round(start * 1000):09d}"


def _write_clip(
    writer: ShardWriter, shard: str, file: SourceFile, clip: EncodedClip, settings: PrepareSettings
) -> dict[str, Any]:
    clip_id = _clip_id(file, clip.start, settings)
    key = member_key(clip_id)
    row: dict[str, Any] = {
        "id": clip_id,
        "labels": list(file.labels),
        "split": file.split,
        "source": file.name,
        "start": clip.start,
        "duration": clip.duration,
        "n_frames": len(clip.frames),
        "frame_times": clip.frame_times,
        "n_samples": clip.n_samples,
        "sample_rate": clip.sample_rate,
    }
    described = canonical_json(row).encode()
    frames = [writer.add(f"{key}.{number}.jpg", frame) for number, frame in enumerate(clip.frames)]
    ending = "flac" if clip.stored_sha256 is None else "wav"
    audio = writer.add(f"{key}.{ending}", clip.audio) if clip.audio else (0, 0)
    writer.add(f"{key}.json", described)
    return row | {
        "shard": shard,
        "frame_offsets": [offset for offset, _ in frames],
        "frame_sizes": [size for _, size in frames],
        "audio_offset": audio[0],
        "audio_size": audio[1],
        "sha256": clip.sha256,
        "stored_sha256": clip.stored_sha256,
        "silent": clip.silent,
        "notes": clip.notes,
        "frame_crc32": [zlib.crc32(frame) for frame in clip.frames],
        "audio_crc32": zlib.crc32(clip.audio),
    }

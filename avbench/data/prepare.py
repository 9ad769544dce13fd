"""Any videos -> a prepared folder: tar shards, a Parquet manifest, and a list of what could not be used.

The sorted list of source files is cut into parts whose size depends on nothing but their number. A part is written
as one shard and then its rows, each atomically: a run that is killed loses the parts in work, and the same command
goes on from there. Files are decoded by several processes and written in order, so the result depends neither on
the number of processes nor on interruptions.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.data.manifest_file import write_manifest, write_rejected
from avbench.data.payload import Done, Message, Payload
from avbench.data.pool import Pool, core_count
from avbench.data.prepare_settings import PrepareSettings
from avbench.data.progress import Progress
from avbench.data.shards import ShardWriter, member_key
from avbench.data.source import Source, SourceFile, list_source
from avbench.data.verdict import kind
from avbench.errors import InputError
from avbench.files import atomic_path, canonical_json, write_json
from avbench.settings import to_dict

__all__ = ["PrepareReport", "PrepareSettings", "prepare"]

SCHEMA = 1
# Bounds of a part, in files: small sets still keep several processes busy, large ones get few, large shards.
_PARTS, _SMALLEST, _LARGEST = 128, 4, 256
# Results that wait for an earlier file to finish, bytes; above it the other processes are made to wait.
_MAX_WAITING = 1 << 30


@dataclass(frozen=True)
class PrepareReport:
    """What a prepared folder holds.

    Attributes:
        folder: The folder.
        sha256: Identity of its content.
        files: Media files in the source.
        clips: Usable clips.
        rejected: Files or windows that cannot be used.
        silent: Clips whose sound is digital silence (they are kept).
        seconds: Sum of the clips' durations.
        reasons: Why clips were rejected -> how many.
        reused: Whether the folder was complete before, so that nothing was done.
    """

    folder: Path
    sha256: str
    files: int
    clips: int
    rejected: int
    silent: int
    seconds: float
    reasons: dict[str, int]
    reused: bool


def prepare(
    source: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    workers: int = -1,
    progress: bool = True,
) -> PrepareReport:
    """Decodes every video of ``source`` once and writes the prepared folder ``out``.

    Args:
        source: A folder (first sub-folder = label) or a CSV with columns file,label[,split].
        out: The folder to write; one that an interrupted run of the same source and settings left is completed.
        settings: How; the defaults are the reference's.
        workers: Processes; -1: one a core.
        progress: Show a bar on a terminal, a line every 30 s elsewhere.

    Raises:
        InputError: The source is none, or ``out`` holds something else. Nothing is written.
        RunError: No decoding process could be started.
    """
    settings = settings or PrepareSettings()
    listing = list_source(Path(source), exclude=Path(out))
    plan = {"schema": SCHEMA, "settings": _identity(settings), "source_sha256": listing.sha256}
    out = Path(out)
    report = _state(out, plan)
    if report:
        shutil.rmtree(out / "parts", ignore_errors=True)
        return report
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        report = _state(out, plan)  # another run may have finished between the look and the lock
        if report:
            return report
        (out / "shards").mkdir(exist_ok=True)
        for folder in (out, out / "shards", out / "parts"):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        if not _plan_path(out).exists():
            write_json(_plan_path(out), plan)
        _write_parts(listing, out, settings, workers if workers > 0 else core_count(), progress)
        _finish(listing, out, plan)
    final = _state(out, plan)
    if final is None:  # only a file system that loses files gets here
        raise InputError(f"{out}: prepare.json vanished after it was written; check the disk and prepare again.")
    shutil.rmtree(out / "parts", ignore_errors=True)
    return PrepareReport(**{**final.__dict__, "reused": False})


def _identity(settings: PrepareSettings) -> dict[str, Any]:
    return to_dict(settings, identity_only=True)


def _plan_path(out: Path) -> Path:
    return out / "parts" / "plan.json"


def _state(out: Path, plan: dict[str, Any]) -> PrepareReport | None:
    """Returns the report of a complete folder, None for one to begin or to go on with; refuses any other."""
    final = out / "prepare.json"
    described = next((path for path in (final, _plan_path(out)) if path.is_file()), None)
    if described is None:
        kept = {"parts", "shards", ".lock"}
        if out.exists() and (not out.is_dir() or any(p.name not in kept and p.suffix != ".tmp" for p in out.iterdir())):
            raise InputError(f"{out}: found something that is no prepared folder; choose another --out or empty it.")
        return None
    try:
        found = json.loads(described.read_text(encoding="utf-8"))
        same = [key for key in plan if found[key] != plan[key]]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{described}: cannot be read; delete {out} and prepare it again.") from None
    if same:
        words = {"schema": "version of avbench", "settings": "settings", "source_sha256": "source files"}
        changed = [
            f"{key} {found['settings'].get(key)} there, {value} now"
            for key, value in plan["settings"].items()
            if "settings" in same and found["settings"].get(key) != value
        ]
        raise InputError(
            f"{out}: holds clips of other {' and '.join(words[key] for key in same)}"
            f"{' (' + '; '.join(changed) + ')' if changed else ''}; choose another --out or delete it."
        )
    if described != final:
        return None
    counts = found["counts"]
    return PrepareReport(out, found["sha256"], **counts, reasons=found["reasons"], reused=True)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keeps a second run from writing the same folder."""
    import fcntl

    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another 'avbench data prepare' is writing it; wait for it or stop it.") from None
        except OSError:
            pass  # a file system without locks
        yield
    (out / ".lock").unlink(missing_ok=True)


def _parts(listing: Source) -> list[range]:
    total = len(listing.files)
    size = min(max(-(-total // _PARTS), _SMALLEST), _LARGEST)
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


def _part_path(out: Path, number: int) -> Path:
    return out / "parts" / f"{number:06d}.json"


def _write_parts(listing: Source, out: Path, settings: PrepareSettings, workers: int, progress: bool) -> None:
    missing = [(n, part) for n, part in enumerate(_parts(listing)) if not _part_path(out, n).exists()]
    jobs = [(index, listing.files[index].path) for _, part in missing for index in part]
    if not jobs:
        return
    before = len(listing.files) - len(jobs)
    with (
        Progress("prepare", len(listing.files), done=before, enabled=progress) as bar,
        Pool(jobs, settings, workers) as pool,
    ):
        results = _InOrder(pool, bar)
        for number, part in missing:
            _write_part(number, [(listing.files[index], results.of(index)) for index in part], out, settings)


class _InOrder:
    """Sorts the pool's messages by file, holding back those that come early."""

    def __init__(self, pool: Pool, bar: Progress) -> None:
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
            self._held -= message.size if isinstance(message, Payload) else 0
            yield message

    def _count(self, message: Message) -> None:
        if isinstance(message, Payload):
            self._held += message.size
            self._clips += 1
        elif not isinstance(message, Done):
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
                if isinstance(message, Payload):
                    rows.append(_write_clip(writer, shard, file, message, settings))
                elif not isinstance(message, Done):
                    rejected.append([file.name, message.start, message.reason])
        writer.close()
    if not rows:
        (out / shard).unlink()
    write_json(_part_path(out, number), {"rows": rows, "rejected": rejected})


def _clip_id(file: SourceFile, start: float, settings: PrepareSettings) -> str:
    if not settings.window:
        return file.id
    whole = settings.step == int(settings.step)
    return f"{file.id}_{int(start):06d}" if whole else f"{file.id}_{round(start * 1000):09d}"


def _write_clip(
    writer: ShardWriter, shard: str, file: SourceFile, clip: Payload, settings: PrepareSettings
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
    audio = writer.add(f"{key}.flac", clip.audio)
    writer.add(f"{key}.json", described)
    return row | {
        "shard": shard,
        "frame_offsets": [offset for offset, _ in frames],
        "frame_sizes": [size for _, size in frames],
        "audio_offset": audio[0],
        "audio_size": audio[1],
        "sha256": clip.sha256,
        "silent": clip.silent,
        "notes": clip.notes,
    }


def _finish(listing: Source, out: Path, plan: dict[str, Any]) -> None:
    """Joins the parts' rows into the manifest; prepare.json is written last and makes the folder complete."""
    numbers = range(len(_parts(listing)))

    def parts() -> Iterator[dict[str, Any]]:
        for number in numbers:
            yield json.loads(_part_path(out, number).read_text(encoding="utf-8"))

    summary = write_manifest(out / "manifest.parquet", (part["rows"] for part in parts()))
    rejected = [row for part in parts() for row in part["rejected"]]
    write_rejected(out / "rejected.csv", rejected)
    reasons = Counter(kind(reason) for _, _, reason in rejected)
    counts = {
        "files": len(listing.files),
        "clips": summary.clips,
        "rejected": len(rejected),
        "silent": summary.silent,
        "seconds": summary.seconds,
    }
    document = plan | {"sha256": summary.sha256, "counts": counts, "reasons": dict(sorted(reasons.items()))}
    write_json(out / "prepare.json", document)

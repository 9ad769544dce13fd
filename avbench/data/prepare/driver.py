"""Any videos -> a prepared folder: tar shards, a Parquet manifest, and a list of what could not be used.

The sorted list of source files is cut into parts whose size depends on nothing but their number. A part is written
as one shard and then its rows, each atomically: a run that is killed loses the parts in work, and the same command
resumes there. Files are decoded by several processes and written in order, so the result depends neither on
the number of processes nor on interruptions. Several machines may write shares of the parts at the same time.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avbench.data.corpus.manifest_file import write_manifest, write_rejected
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.media.verdict import kind
from avbench.data.prepare.modality import settled
from avbench.data.prepare.parts import cut, part_path, write_parts
from avbench.data.prepare.share import FolderLock, PartShare
from avbench.data.prepare.source import Listing, list_source
from avbench.errors import InputError, RunError
from avbench.files import Damaged, read_json, set_aside, write_sealed
from avbench.processes import core_count
from avbench.settings import to_dict

__all__ = ["PartShare", "PrepareReport", "PrepareSettings", "ShareReport", "prepare", "prepare_share"]

SCHEMA = 1


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
    out = Path(out)
    listing, settings, plan = _plan(Path(source), out, settings or PrepareSettings())
    report = _state(out, plan)
    if report:
        shutil.rmtree(out / "parts", ignore_errors=True)
        return report
    out.mkdir(parents=True, exist_ok=True)
    with FolderLock(out) as lock:
        report = _begin(out, plan, lock)  # another run may have finished between the look and the lock
        if report:
            return report
        for folder in (out, out / "shards", out / "parts"):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        write_parts(listing, range(len(cut(listing))), out, settings, _processes(workers), progress)
        _finish(listing, out, plan)
        lock.remove()
    final = _state(out, plan)
    if final is None:  # only a file system that loses files gets here
        raise InputError(f"{out}: prepare.json vanished after it was written; check the disk and prepare again.")
    shutil.rmtree(out / "parts", ignore_errors=True)
    return PrepareReport(**{**final.__dict__, "reused": False})


@dataclass(frozen=True)
class ShareReport:
    """What one share of a folder's parts is.

    Attributes:
        folder: The folder.
        parts: Parts in the share.
        written: Those that were written now; the others were there.
        complete: Whether the folder was complete before, so that nothing was done.
    """

    folder: Path
    parts: int
    written: int
    complete: bool


def prepare_share(
    source: Path,
    out: Path,
    share: PartShare,
    settings: PrepareSettings | None = None,
    *,
    workers: int = -1,
    progress: bool = True,
) -> ShareReport:
    """Writes a share of the parts of ``out``; :func:`prepare` with the same arguments does the rest and finishes it.

    Processes with other shares may write the same folder at the same time, on this machine or on others.

    Args:
        source: As for :func:`prepare`.
        out: As for :func:`prepare`.
        share: Which parts.
        settings: As for :func:`prepare`.
        workers: Processes; -1: one a core.
        progress: Show a bar on a terminal, a line every 30 s elsewhere.

    Raises:
        InputError: The source is none, ``out`` holds something else, or another process writes one of these parts.
        RunError: No decoding process could be started.
    """
    out = Path(out)
    listing, settings, plan = _plan(Path(source), out, settings or PrepareSettings())
    numbers = [number for number in range(len(cut(listing))) if share.has(number)]
    if _state(out, plan):
        return ShareReport(out, len(numbers), 0, complete=True)
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    with FolderLock(out, numbers, made=made) as lock:
        if _begin(out, plan, lock):
            return ShareReport(out, len(numbers), 0, complete=True)
        written = write_parts(listing, numbers, out, settings, _processes(workers), progress)
    return ShareReport(out, len(numbers), written, complete=False)


def _processes(workers: int) -> int:
    return workers if workers > 0 else core_count()


def _plan(source: Path, out: Path, settings: PrepareSettings) -> tuple[Listing, PrepareSettings, dict[str, Any]]:
    """Returns what is to be decoded, how, and what decides the folder's content."""
    listing = list_source(source, exclude=out)
    settings = settled(listing, _as_begun(out, settings))
    plan = {"schema": SCHEMA, "settings": _identity(settings), "source_sha256": listing.sha256}
    return listing, settings, plan


def _as_begun(out: Path, settings: PrepareSettings) -> PrepareSettings:
    """Returns the settings with the modality of what was begun, where they leave it open."""
    try:
        found = read_json(_described(out))["settings"].get("modality", "both")
    except (OSError, Damaged, KeyError, TypeError, AttributeError):
        return settings
    return replace(settings, modality=found) if settings.modality == "auto" else settings


def _described(out: Path) -> Path:
    """Returns the file that says how a folder is prepared, of one that is done or was begun."""
    final = out / "prepare.json"
    return final if final.is_file() else _plan_path(out)


def _begin(out: Path, plan: dict[str, Any], lock: FolderLock) -> PrepareReport | None:
    """Writes the plan where there is none; returns the report of a folder that is complete."""
    with lock.plan():
        report = _state(out, plan)
        if report:
            lock.remove()
            return report
        (out / "shards").mkdir(exist_ok=True)
        if not _plan_path(out).exists():
            write_sealed(_plan_path(out), plan)
    return None


def _identity(settings: PrepareSettings) -> dict[str, Any]:
    return to_dict(settings, identity_only=True)


def _plan_path(out: Path) -> Path:
    return out / "parts" / "plan.json"


def _state(out: Path, plan: dict[str, Any]) -> PrepareReport | None:
    """Returns the report of a complete folder, None for one to begin or to resume; refuses any other."""
    described = _described(out)
    if not described.is_file():
        kept = {"parts", "shards", ".lock"}
        if out.exists() and (not out.is_dir() or any(p.name not in kept and p.suffix != ".tmp" for p in out.iterdir())):
            raise InputError(f"{out}: found something that is no prepared folder; choose another --out or empty it.")
        return None
    try:
        found = read_json(described)
        # A folder of an older version lacks the settings that came later; it was made with what is their default.
        found["settings"] = _identity(PrepareSettings(modality="both")) | found["settings"]
        same = [key for key in plan if found[key] != plan[key]]
    except (Damaged, KeyError, TypeError):
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
    if described != out / "prepare.json":
        return None
    counts = found["counts"]
    return PrepareReport(out, found["sha256"], **counts, reasons=found["reasons"], reused=True)


def _finish(listing: Listing, out: Path, plan: dict[str, Any]) -> None:
    """Joins the parts' rows into the manifest; prepare.json is written last and makes the folder complete."""
    numbers = range(len(cut(listing)))

    def parts() -> Iterator[dict[str, Any]]:
        for number in numbers:
            try:
                yield read_json(part_path(out, number))
            except Damaged as damage:
                set_aside(damage)
                raise RunError(f"{damage} The same command again prepares these clips.") from None

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
    write_sealed(out / "prepare.json", document)

"""Is a prepared folder whole? Every member is read, hashed and decoded; where it is asked for, looked at as well."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from avbench.data.corpus.manifest_file import content_hash, content_line
from avbench.data.corpus.shards import ShardReader
from avbench.data.corpus.stored_rows import damaged_rows
from avbench.data.likeness.fingerprint import Fingerprints
from avbench.data.likeness.flags import Seen
from avbench.data.prepare.payload import content_sha256
from avbench.errors import InputError, RunError
from avbench.files import Damaged, read_json
from avbench.processes import core_count


def verify(folder: Path, *, workers: int = -1, seen: list[Seen] | None = None) -> list[str]:
    """Checks a prepared folder against its manifest.

    Args:
        folder: The folder.
        workers: Threads; -1: one a core.
        seen: Where to put its clips and their fingerprints; None: none are made.

    Returns:
        One line a problem, naming the clip or file; empty when all is well.

    Raises:
        InputError: It is no prepared folder, or its preparation did not finish.
    """
    folder = Path(folder)
    if not (folder / "prepare.json").is_file():
        state = "an unfinished one; run 'avbench data prepare' again" if (folder / "parts").is_dir() else "none"
        raise InputError(f"{folder}: found no prepare.json, valid: a prepared folder (this is {state}).")
    try:
        import pyarrow.parquet as pq

        described = read_json(folder / "prepare.json")
        rows: list[dict[str, Any]] = pq.read_table(folder / "manifest.parquet").to_pylist()
        found = content_hash(content_line(row) for row in rows)
    except (Damaged, OSError, ValueError, KeyError, TypeError) as error:
        return [f"prepare.json or manifest.parquet cannot be read: {str(error).splitlines()[0]}"]
    problems = []
    if found != described.get("sha256"):
        problems.append("manifest.parquet: its content is not what prepare.json says")
    if len({row["id"] for row in rows}) != len(rows):
        problems.append("manifest.parquet: the same id occurs twice")
    reader, prints = ShardReader(folder), None if seen is None else Fingerprints(len(rows))
    if seen is not None and prints is not None:
        seen.append(Seen(rows, prints, str(folder)))
    with ThreadPoolExecutor(workers if workers > 0 else core_count()) as threads:
        checks = threads.map(lambda number: _check(reader, rows[number], prints, number), range(len(rows)))
        problems += [line for lines in checks for line in lines]
    reader.close()
    return [*problems, *damaged_rows(folder, [row["id"] for row in rows])]


def _check(reader: ShardReader, row: dict[str, Any], prints: Fingerprints | None, number: int) -> list[str]:
    from av.error import FFmpegError

    from avbench.data.media.jpeg import decode_jpeg
    from avbench.data.media.waveform import decode_stored

    name = row["id"]
    try:
        frames = [
            reader.read(row["shard"], offset, size)
            for offset, size in zip(row["frame_offsets"], row["frame_sizes"], strict=True)
        ]
        audio = reader.read(row["shard"], row["audio_offset"], row["audio_size"]) if row["audio_size"] else b""
    except (RunError, ValueError) as error:
        return [f"{name}: {error}"]
    problems = []
    if content_sha256(frames, audio) != (row.get("stored_sha256") or row["sha256"]):
        problems.append(f"{name}: its bytes in {row['shard']} are not those that were written")
    if not len(frames) == row["n_frames"] == len(row["frame_times"]):
        problems.append(f"{name}: {len(frames)} frames stored, {row['n_frames']} listed")
    pictures = []
    for k, frame in enumerate(frames):
        try:
            pictures.append(decode_jpeg(frame))
        except (OSError, SyntaxError, ValueError) as error:
            problems.append(f"{name}: frame {k} does not decode ({error})")
    samples, rate = np.zeros(0, np.float32), row["sample_rate"]  # of pictures alone
    try:
        samples, rate = decode_stored(audio) if audio else (samples, rate)
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        return [*problems, f"{name}: its sound does not decode ({error})"]
    if (samples.shape[-1], rate) != (row["n_samples"], row["sample_rate"]):
        problems.append(f"{name}: {samples.shape[-1]} samples at {rate} Hz stored, {row['n_samples']} listed")
    if prints is not None and not problems:
        prints.take(number, pictures, samples, rate)
    return problems

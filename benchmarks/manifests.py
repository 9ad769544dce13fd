"""Manifests of AudioSet-2M's size: ``python benchmarks/manifests.py [--rows N] [--json FILE]``; about four minutes.

Makes a prepared folder's ``manifest.parquet`` and the authors' JSON with its label CSV in a temporary folder, without
media, and goes through what a run does with two million rows before its first batch: open, labels, splits, selection,
hashes, and the order of an epoch. Beside each the plain way, a Python object a row. Every one of the four is a process
of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avbench.bench.machine import peak_memory_bytes
from avbench.data.corpus.clips import MANIFEST
from avbench.data.corpus.manifest_file import content_hash, content_line, schema
from avbench.data.corpus.prepared import CLASSES
from avbench.data.corpus.stored import open_clips
from avbench.data.feed.sampling import balanced_order
from avbench.files import write_json
from avbench.rng import numpy_stream
from avbench.tasks.labels import read_labels

ROWS, N_CLASSES, FRAMES = 2_000_000, 527, 10
KINDS = ("prepared", "authors")
STEPS = ("open", "labels", "splits", "select half", "sha256", "ids_sha256", "balanced order", "shuffled order")
Steps = dict[str, Callable[[], Any]]


def draw_labels(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns offsets (rows + 1,) and class indices: one to three classes a clip, rare and common as in AudioSet."""
    stream = numpy_stream(0, "benchmark manifests")
    shares = 1 / np.arange(1, N_CLASSES + 1)
    first = stream.choice(N_CLASSES, rows, p=shares / shares.sum())
    counts = 1 + stream.integers(0, 3, rows)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return offsets, (np.repeat(first, counts) + 7 * place) % N_CLASSES  # the classes of a clip differ


def class_lists() -> tuple[list[str], list[str]]:
    """Returns the ids and the names of the classes."""
    return [f"/m/{i:06x}" for i in range(N_CLASSES)], [f"Sound of kind {i}" for i in range(N_CLASSES)]


def make_prepared(folder: Path, rows: int) -> Path:
    """Writes a manifest like that of a prepared folder, and the official list of classes; returns the folder."""
    offsets, codes = draw_labels(rows)
    mids, names = class_lists()
    each = np.arange(rows)
    frames = pa.array(np.arange(0, (rows + 1) * FRAMES, FRAMES), pa.int32())[: rows + 1]
    size = 20_000 + each % 4096
    columns = {
        "id": pa.array([f"{i:011x}" for i in range(rows)]),
        "labels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(names).take(pa.array(codes))),
        "split": pa.array(["train", "test"]).take(pa.array((each % 100 == 0).astype(np.int8))),
        "source": pa.array([f"videos/{i:011x}.mp4" for i in range(rows)]),
        "start": pa.array(np.zeros(rows)),
        "duration": pa.array(np.full(rows, 10.0)),
        "n_frames": pa.array(np.full(rows, FRAMES, np.int32)),
        "frame_times": pa.ListArray.from_arrays(frames, pa.array(np.tile(np.arange(FRAMES) + 0.5, rows), pa.float32())),
        "n_samples": pa.array(np.full(rows, 160_000)),
        "sample_rate": pa.array(np.full(rows, 16_000, np.int32)),
        "shard": pa.array([f"shards/{i:06d}.tar" for i in range(rows // 1000 + 1)]).take(pa.array(each // 1000)),
        "frame_offsets": pa.ListArray.from_arrays(frames, pa.array(np.repeat(each % 1000, FRAMES) * 300_000)),
        "frame_sizes": pa.ListArray.from_arrays(frames, pa.array(np.repeat(size, FRAMES))),
        "audio_offset": pa.array(each % 1000 * 300_000),
        "audio_size": pa.array(size),
        "sha256": pa.array([hashlib.sha256(str(i).encode()).hexdigest() for i in range(rows)]),
        "silent": pa.array(each % 1000 == 7),
        "notes": pa.array([""]).take(pa.array(np.zeros(rows, np.int8))),
    }
    folder.mkdir()
    pq.write_table(pa.table(columns, schema=schema()), folder / MANIFEST, row_group_size=20_000)
    (folder / CLASSES).write_text("".join(f"{mid}\t{name}\n" for mid, name in zip(mids, names, strict=True)))
    return folder


def make_authors(folder: Path, rows: int) -> Path:
    """Writes a manifest and a label CSV of the authors' format; returns the manifest."""
    offsets, codes = draw_labels(rows)
    mids, names = class_lists()
    folder.mkdir()
    with (folder / "manifest.json").open("w") as file:
        file.write('{"data": [\n')
        for i in range(rows):
            name = f"{i:011x}"
            labels = ",".join(mids[c] for c in codes[offsets[i] : offsets[i + 1]])
            entry = {"video_id": name, "wav": f"audio/{name}.wav", "video_path": "frames", "labels": labels}
            file.write(json.dumps(entry, indent=1) + (",\n" if i < rows - 1 else "\n"))
        file.write("]}")
    (folder / "audio").mkdir()
    (folder / "audio" / f"{0:011x}.wav").touch()  # none of the first clips being there is an error
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "mid", "display_name"])
        writer.writerows((i, mid, name) for i, (mid, name) in enumerate(zip(mids, names, strict=True)))
    return folder / "manifest.json"


def our_steps(path: Path) -> Steps:
    """Returns the package's way."""
    held: dict[str, Any] = {}

    def keep(name: str, value: Any) -> None:
        held[name] = value

    def shown() -> dict[str, str]:
        return {name: name for name in held["clips"].class_names}

    return {
        "open": lambda: keep("clips", open_clips(path)),
        "labels": lambda: keep("labels", read_labels(held["clips"], shown())),
        "splits": lambda: np.flatnonzero(np.asarray(held["clips"].splits) == "train"),
        "select half": lambda: held["clips"].select(
            numpy_stream(0, "half").permutation(len(held["clips"]))[: len(held["clips"]) // 2]
        ),
        "sha256": lambda: held["clips"].sha256,
        "ids_sha256": lambda: held["clips"].ids_sha256(),
        "balanced order": lambda: balanced_order(held["labels"], seed=0, epoch=0),
        "shuffled order": lambda: numpy_stream(0, "order", 0).permutation(len(held["clips"])),
    }


def plain_steps(path: Path) -> Steps:
    """Returns the way of a Python object a row; weights by the reference's loop over clips.

    The loop: docs/protocol/cavmae.md 2.3.

    Of the prepared folder it reads four columns only: as objects, the places of the frames alone would take 8 GB.
    """
    rows: list[dict[str, Any]] = []
    codes: list[list[int]] = []
    mids, names = class_lists()
    prepared = path.is_dir()

    def load() -> None:
        if prepared:
            rows.extend(pq.read_table(path / MANIFEST, columns=["id", "labels", "split", "sha256"]).to_pylist())
        else:
            rows.extend(json.loads(path.read_text())["data"])

    def read() -> None:
        index = {name: i for i, name in enumerate(names if prepared else mids)}
        for row in rows:
            codes.append([index[label] for label in (row["labels"] if prepared else row["labels"].split(","))])

    def digest() -> str:
        if prepared:
            return content_hash(content_line(row) for row in rows)
        return hashlib.sha256("\n".join(sorted(json.dumps(row) for row in rows)).encode()).hexdigest()

    def balanced() -> Any:
        counts = np.zeros(N_CLASSES)
        for row in codes:
            for code in row:
                counts[code] += 1
        per_class = 1000 / (counts + 0.01)
        weights = np.zeros(len(rows))
        for i, row in enumerate(codes):
            for code in row:
                weights[i] += per_class[code]
        return np.random.default_rng(0).choice(len(rows), len(rows), p=weights / weights.sum())

    def half() -> list[dict[str, Any]]:
        return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: len(rows) // 2]]

    key = "id" if prepared else "video_id"
    return {
        "open": load,
        "labels": read,
        "splits": lambda: [i for i, row in enumerate(rows) if row.get("split", "") == "train"],
        "select half": half,
        "sha256": digest,
        "ids_sha256": lambda: hashlib.sha256("\n".join(sorted(row[key] for row in rows)).encode()).hexdigest(),
        "balanced order": balanced,
        "shuffled order": lambda: np.random.default_rng(0).permutation(len(rows)).tolist(),
    }


def measure(steps: Steps) -> dict[str, Any]:
    """Returns wall and CPU seconds of each step, and the process's largest memory after opening and at the end."""
    seconds: dict[str, float] = {}
    cpu: dict[str, float] = {}
    before = peak_memory_bytes()
    opened = 0
    for name in STEPS:
        start, start_cpu = time.perf_counter(), time.process_time()
        steps[name]()
        seconds[name] = round(time.perf_counter() - start, 3)
        cpu[name] = round(time.process_time() - start_cpu, 3)
        if name == "open":
            opened = peak_memory_bytes()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "before_bytes": before,
        "peak_open_bytes": opened,
        "peak_bytes": peak_memory_bytes(),
    }


def measured(way: str, path: Path) -> dict[str, Any]:
    """Measures one way in a process of its own."""
    words = [sys.executable, __file__, "--measure", way, "--path", str(path)]
    answer: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return answer


def show(report: dict[str, Any]) -> None:
    """Prints one table a kind of manifest."""
    for kind in KINDS:
        ours, plain = report[kind]["ours"], report[kind]["plain"]
        print(f"\n{kind}: {report['rows']} rows, {report[kind]['bytes'] / 1e6:.0f} MB\n")
        print("| step | ours s | CPU s | plain s | CPU s | ratio of CPU |\n| --- | --: | --: | --: | --: | --: |")
        for name in STEPS:
            a, b = ours["cpu_seconds"][name], plain["cpu_seconds"][name]
            cells = (ours["seconds"][name], a, plain["seconds"][name], b, b / max(a, 1e-3))
            print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
        for text, key in (("peak GB, opening", "peak_open_bytes"), ("peak GB, all", "peak_bytes")):
            print(f"| {text} | {ours[key] / 1e9:.2f} | | {plain[key] / 1e9:.2f} | | {plain[key] / ours[key]:.2f} |")


def main() -> None:
    """Makes the manifests, measures them and prints the tables."""
    parser = argparse.ArgumentParser(description="Manifests of AudioSet-2M's size.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--measure", choices=("ours", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure((our_steps if options.measure == "ours" else plain_steps)(options.path))))
        return
    report: dict[str, Any] = {"rows": options.rows}
    with tempfile.TemporaryDirectory() as text:
        for kind, make in zip(KINDS, (make_prepared, make_authors), strict=True):
            path = make(Path(text) / kind, options.rows)
            size = (path / MANIFEST if path.is_dir() else path).stat().st_size
            report[kind] = {way: measured(way, path) for way in ("ours", "plain")} | {"bytes": size}
    show(report)
    if options.json is not None:
        write_json(options.json, report)


if __name__ == "__main__":
    main()

"""Time and memory against the number of clips: made, prepared, ordered, extracted, probed, retrieved.

    python benchmarks/scale.py [--clips 100 1000 10000] [--threads 1] [--json FILE]

Clips are N of the embedded set, as videos: six tenths train, three tenths are judged. Each step is a command in a
process of its own; seconds are of wall clock and processor, memory is that of the largest of its processes. The model
is the embedded set's CAV-MAE after one step of training: what it knows does not matter here. The order of an epoch is
measured by ``benchmarks/manifests.py``, of two million clips or of ``--rows``, ranks of 100,000 clips by
``benchmarks/retrieval.py --large``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TASKS, STAGES = ("retrieval", "linear_probe"), ("vectors", "evaluate")
STEPS = ("make", "prepare", *TASKS)


def timed(*words: str) -> dict[str, float]:
    """Returns wall and processor seconds and the most memory of a process, GB.

    Raises:
        SystemExit: It failed.
    """
    start = time.monotonic()
    pid = os.posix_spawn(
        sys.executable, [sys.executable, *words], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
    )
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: failed")
    seconds = round(time.monotonic() - start, 2)
    return {"s": seconds, "cpu_s": round(used.ru_utime + used.ru_stime, 2), "peak_gb": round(used.ru_maxrss / 1e6, 2)}


def measure(folder: Path, clips: int, threads: int) -> dict[str, Any]:
    """Returns what each step took for a number of clips."""
    videos, prepared, results = folder / "videos", folder / "prepared", folder / "results"
    make = ["data", "make", "soundshapes", "--out", str(videos), "--clips", str(clips)]
    found: dict[str, Any] = {"clips": clips, "stages": {}, "make": timed("-m", "avbench", *make)}
    place = ["--out", str(prepared), "--size", "96", "--n-frames", "6"]
    found["prepare"] = timed("-m", "avbench", "data", "prepare", str(videos / "labels.csv"), *place)
    found["shards_mb"] = round(sum(path.stat().st_size for path in prepared.glob("shards/*")) / 1e6, 1)
    words = ["run", "--method", "cavmae", "--data", str(prepared), "--preset", "soundshapes", "--results", str(results)]
    words += ["--skip-untrained", "--set", "train.steps=1", f"train.threads={threads}"]
    words += ["train.batch_size=32"]
    for task in TASKS:
        found[task] = timed("-m", "avbench", *words, "--task", task)
    for path in results.glob("runs/*/record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        found["stages"][record["task"]] = record["wall_s"]
    return found


def show(found: list[dict[str, Any]]) -> None:
    """Prints a table: a line a step, a column a number of clips."""

    def line(name: str, cells: list[str]) -> None:
        print(f"| {name} | {' | '.join(cells)} |")

    line("", [f"{each['clips']:,} clips" for each in found])
    line("---", ["--:"] * len(found))
    for name in STEPS:
        each_step = [each[name] for each in found]
        line(name, [f"{step['s']} s, {step['cpu_s']} CPU s, {step['peak_gb']} GB" for step in each_step])
    for task in TASKS:
        for stage in STAGES:
            line(f"of {task}: {stage}", [f"{each['stages'][task].get(stage, 0)} s" for each in found])
    line("shards", [f"{each['shards_mb']} MB" for each in found])


def main() -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    found = []
    for clips in options.clips:
        with tempfile.TemporaryDirectory(prefix="avbench-scale-") as folder:
            found.append(measure(Path(folder), clips, options.threads))
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How long commands take on many records or runs: it writes records into a temporary folder and times each command.

    python benchmarks/tables.py [--records 50000] [--clips 1000] [--seeds 300] [--keep DIR]
    python benchmarks/tables.py --records 1350       # the page of a report, too

Records have the form of real ones: full configuration, metrics with intervals and chance, and per-sample outputs beside
them (ranks, or labels, hits and scores). Half are on soundshapes, half on the papers' data. The first call of each data
has neither index nor kept comparisons (cold), the second has them (warm), the last has them and 100 new records. Those
on the papers' data are of checkpoints whose pretrainings are in the results. Last, a grid of all methods and tasks is
planned for many seeds (soundshapes has to be prepared).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("cav", "vanilla_avmae", "avmae", "cavmae", "cavmae_sync")
TASKS = ("retrieval", "linear_probe", "classification")
PAPER = {"retrieval": "vggsound", "linear_probe": "audioset-20k", "classification": "audioset-20k"}
CLASSES = 32
PAGE = 5000  # records up to which the page of all of them is written, too
KINDS = 20  # files of per-sample outputs of each task and method; records share them by hard links


def configurations(count: int) -> Iterator[dict[str, Any]]:
    """Yields what distinguishes the records: method, task, data, a setting that was swept, and the seed.

    Up to twelve masking ratios are swept, so many that three seeds of each are among the records.
    """
    weights = [0.001, 0.01, 0.1, 0.5, 1.0]
    of_each = len(TASKS) * len(METHODS) * 2 * len(weights)
    ratios = [round(0.3 + 0.05 * i, 2) for i in range(min(12, max(1, count // (3 * of_each))))]
    for seed in itertools.count():
        for task, method, on_paper, ratio, weight in itertools.product(TASKS, METHODS, (False, True), ratios, weights):
            if count == 0:
                return
            count -= 1
            yield {"task": task, "method": method, "paper": on_paper, "ratio": ratio, "lambda_c": weight, "seed": seed}


def outputs(task: str, ids: Any, strength: float, draw: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns per-sample outputs and metrics that belong to them, of a model of some strength."""
    from avbench.metrics.classification import summarise, top_k
    from avbench.metrics.evidence import of_ranks

    n = len(ids)
    if task == "retrieval":
        ranks = {side: np.ceil(draw.random(n) ** (1 + 4 * strength) * n) for side in ("a2v", "v2a")}
        return {"id": ids, **{f"{side}_rank": each for side, each in ranks.items()}}, dict(of_ranks(ids, ranks).values)
    target = np.arange(n) % CLASSES
    found: dict[str, Any] = {"id": ids, "target": target}
    metrics = {}
    for stream in ("audio", "visual", "joint"):
        scores = (np.eye(CLASSES)[target] * 2 * strength + draw.standard_normal((n, CLASSES))).astype(np.float32)
        found |= {f"{stream}/top1": top_k(scores, target, 1).astype(float), f"{stream}/scores": scores}
        metrics |= {f"{stream}/{name}": value for name, value in summarise(scores, target).items()}
    return found, metrics


def write(results: Path, count: int, clips: int) -> None:
    """Writes records, without syncing each to disk."""
    from avbench.running.request import Request, resolve
    from avbench.store.records import SCHEMA, content_id

    ids = np.array([f"clip-{i:06d}" for i in range(clips)])
    pool, made = results / "pool", {}
    pool.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for task, (m, method), kind in itertools.product(TASKS, enumerate(METHODS), range(KINDS)):
        arrays, metrics = outputs(task, ids, 0.2 + 0.1 * m + 0.01 * kind, draw)
        path = pool / f"{task}-{method}-{kind}.npz"
        np.savez(path, **arrays)
        made[task, method, kind] = (path, metrics)
    base = {
        (task, method): resolve(Request(method=method, task=task, data="soundshapes")).to_dict()
        for task in TASKS
        for method in METHODS
    }
    trained: set[str] = set()
    for number, facts in enumerate(configurations(count)):
        task, method = facts["task"], facts["method"]
        path, metrics = made[task, method, number % KINDS]
        config = json.loads(json.dumps(base[task, method]))
        config["method"] |= {"masking_ratio": facts["ratio"]}
        if "lambda_c" in config["method"]:
            config["method"]["lambda_c"] = facts["lambda_c"]
        config["seed"] = facts["seed"]
        data = PAPER[task] if facts["paper"] else "soundshapes"
        config["data"]["source"] = data
        if facts["paper"]:
            stage = content_id({key: facts[key] for key in ("method", "ratio", "lambda_c", "seed")})
            folder = results / "stages" / "pretrain" / stage
            config |= {
                "presets": ["pretrain-audioset-base"],
                "weights": "checkpoint",
                "checkpoint": str(folder / "weights.safetensors"),
            }
            config["data"]["subset"] = "retrieval" if task == "retrieval" else ""
            config["train"] |= {"batch_size": 48, "steps": 0, "epochs": 12}
            if stage not in trained:
                trained.add(stage)
                folder.mkdir(parents=True)
                options = {key: value for key, value in config["method"].items() if key != "name"}
                done = {"key": {"options": options, "train": config["train"], "input": config["input"], "init": None}}
                (folder / "done.json").write_text(json.dumps(done), encoding="utf-8")
        name = f"{number:016x}"
        record = {
            "schema": SCHEMA,
            "id": name,
            **{key: facts[key] for key in ("method", "task", "seed")},
            "weights": config["weights"],
            "data": data,
            "data_sha256": f"{data:0<64}",
            "split": "test",
            "precision": "fp32",
            "config": config,
            "stages": {"pretrain": [name], "vectors": [name, name]},
            "n": clips,
            "ids_sha256": f"{data}-ids".ljust(64, "0"),
            "metrics": metrics,
            "chance": dict.fromkeys(metrics, 0.03125),
            "ci95": {key: [value * 0.97, value * 1.03] for key, value in metrics.items()},
            "wall_s": {"evaluate": 12.345, "pretrain": 1234.567},
            "device_hours": 0.346,
            "created": f"2026-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}+00:00",
            "git": {"commit": "0" * 40, "dirty": False, "diff_sha256": ""},
            "code_sha256": "0" * 64,
            "versions": {f"package-{i}": "1.2.3" for i in range(12)},
            "hardware": {"device": "cpu", "cores": 2, "memory_gib": 23.5, "host": "benchmark", "processor": "none"},
        }
        folder = results / "runs" / name
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record, indent=2, sort_keys=True), encoding="utf-8")
        os.link(path, folder / "per_sample.npz")


def measure(results: Path, label: str, *command: str) -> None:
    """Times a command in a process of its own."""
    words = [sys.executable, "-m", "avbench", *command, "--results", str(results)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    name = " ".join(command)[:28]
    print(
        f"{name}, {label}: {wall:.1f} s ({cpu:.1f} s of one core), {after.ru_maxrss / 2**20:.2f} GiB at most",
        flush=True,
    )


def main() -> int:
    """Writes and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=300, help="of the grid of six tasks")
    parser.add_argument("--keep", type=Path, help="write the records here, or use those that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avbench-tables-") as temporary:
        results = options.keep or Path(temporary)
        if not (results / "runs").is_dir():
            start = time.monotonic()
            write(results, options.records, options.clips)
            print(f"{options.records} records of {options.clips} clips written in {time.monotonic() - start:.0f} s")
        commands = [["list", "runs"], ["tables"], ["tables", "--data", "soundshapes"]]
        if options.records <= PAGE:
            commands.append(["report", "--out", str(Path(temporary) / "report.html")])
        for command in commands:
            for cached in (results / ".cache").glob("*"):
                cached.unlink()
            measure(results, "cold", *command)
            measure(results, "warm", *command)
        for folder in sorted((results / "runs").iterdir())[:100]:
            os.utime(folder / "record.json")
        measure(results, "warm but for 100 new records", "tables", "--data", "soundshapes")
    with tempfile.TemporaryDirectory(prefix="avbench-grid-") as temporary:
        seeds = [str(seed) for seed in range(options.seeds)]
        words = ["--dry-run", "--methods", "all", "--tasks", *TASKS, "localization", "reconstruction", "shuffled_pairs"]
        measure(Path(temporary), f"{options.seeds} seeds", "grid", *words, "--seeds", *seeds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

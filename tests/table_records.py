"""Records made by code, for tests of tables: small, fixed, with per-sample outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avbench.metrics.evidence import of_ranks, of_scores
from avbench.store.records import SCHEMA, write_record

CLIPS = 60
CLASSES = 5


def record(run_id: str, method: str, task: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    settings = {
        "method": {"name": method, "masking_ratio": 0.5, "masking_strategy": "uniform", "lambda_c": 0.1},
        "task": {"name": task},
        "train": {"steps": 320, "epochs": 25, "batch_size": 64, "pairing": "true", "init": ""},
        "data": {"source": "soundshapes", "clips_seed": 0, "subset": ""},
        "seed": seed,
        "checkpoint": None,
        "presets": ["soundshapes"],
    }
    for key, value in changes.pop("settings", {}).items():
        section, _, name = key.partition(".")
        if name:
            settings[section][name] = value
        else:
            settings[section] = value
    return {
        "schema": SCHEMA,
        "id": run_id,
        "method": method,
        "task": task,
        "weights": "pretrained",
        "data": "soundshapes",
        "data_sha256": "clips",
        "split": "test",
        "seed": seed,
        "precision": "fp32",
        "config": settings,
        "stages": {},
        "n": CLIPS,
        "ids_sha256": "ids",
        "metrics": {},
        "chance": {},
        "ci95": {},
        "created": f"2026-01-01T00:00:{seed:02d}+00:00",
        **changes,
    }


def retrieval(results: Path, run_id: str, method: str, skill: float, seed: int = 0, **changes: Any) -> None:
    draw = np.random.default_rng([seed, 1])
    ids = np.array([f"clip{i}" for i in range(changes.get("n", CLIPS))])
    ranks = {side: np.ceil(draw.random(len(ids)) ** skill * len(ids)) for side in ("a2v", "v2a")}
    metrics = {"metrics": dict(of_ranks(ids, ranks).values), **changes}
    arrays = {"id": ids, **{f"{side}_rank": each for side, each in ranks.items()}}
    write_record(results, record(run_id, method, "retrieval", seed, **metrics), arrays)


def scored(
    results: Path, run_id: str, method: str, task: str, skill: dict[str, float], seed: int = 0, **changes: Any
) -> None:
    """Writes classification or a linear probe: a stream's skill is how far its scores know the class."""
    draw = np.random.default_rng([seed, 2])
    ids = np.array([f"clip{i}" for i in range(changes.get("n", CLIPS))])
    target = np.arange(len(ids)) % CLASSES
    arrays: dict[str, Any] = {"id": ids, "target": target}
    metrics: dict[str, float] = {}
    for stream, known in skill.items():
        scores = (np.eye(CLASSES)[target] * known + draw.standard_normal((len(ids), CLASSES))).astype(np.float32)
        evidence = of_scores(ids, scores, target)
        arrays |= {f"{stream}/top1": evidence.means["top1"].totals, f"{stream}/scores": scores}
        metrics |= {f"{stream}/{name}": value for name, value in evidence.values.items()}
    write_record(results, record(run_id, method, task, seed, **{"metrics": metrics, **changes}), arrays)


PAPER = {
    "weights": "checkpoint",
    "settings": {
        "presets": ["pretrain-audioset-base", "finetune-audioset20k-av"],
        "method.masking_ratio": 0.75,
        "method.lambda_c": 0.01,
        "train.steps": 0,
        "train.epochs": 12,
        "train.batch_size": 48,
    },
}


def on_paper(data: str, **settings: Any) -> dict[str, Any]:
    """Returns what a record on the paper's data has, as a base model there."""
    return {
        **PAPER,
        "data": data,
        "data_sha256": data,
        "ids_sha256": data,
        "settings": {**PAPER["settings"], **settings},
    }


def write(results: Path) -> Path:
    """Writes 22 records: retrieval and classification of four methods on soundshapes, some on the paper's data."""
    for seed in range(3):
        for m, method in enumerate(("avmae", "cav", "cavmae")):
            retrieval(results, f"a{m}{seed}", method, 1 + 1.5 * m, seed)
            scored(results, f"b{m}{seed}", method, "classification", {"joint": 0.5 + 0.9 * m}, seed)
    scored(results, "c0", "audiomae", "classification", {"audio": 1.0}, **on_paper("audioset-20k"))
    scored(results, "c1", "visualmae", "classification", {"visual": 0.6}, **on_paper("audioset-20k"))
    epochs = {"train.epochs": 25}
    scored(results, "c2", "cavmae", "classification", {"joint": 1.8}, **on_paper("audioset-20k", **epochs))
    subset = {"data.subset": "retrieval"}
    retrieval(results, "c3", "cavmae", 3.0, **on_paper("vggsound", **subset))
    return results

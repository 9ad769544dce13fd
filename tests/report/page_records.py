"""A small results folder with real clips: three methods and tasks, embeddings, curves and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avbench.config import DataConfig
from avbench.data.locate import locate, open_source
from avbench.running.request import Request, resolve
from avbench.store.features import Features
from avbench.store.records import SCHEMA, stage_folder, write_record
from avbench.tasks.retrieval import TASK, RetrievalConfig

HOSTILE = "</script><script>alert(1)</script><!--"
SETS = ("data.train_clips=8", "data.test_clips=8", "data.n_frames=2", "train.epochs=3")


def study(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Writes the folder, with clips in a cache of its own; the cache stays named in the environment until undone."""
    patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
    results = folder / "results"
    config = resolve(Request(method="cav", data="soundshapes", sets=SETS))
    clips = open_source(locate(config.data, config.input), workers=0, progress=False)
    judged = clips.select([i for i, split in enumerate(clips.splits) if split == "test"])
    ids = list(judged.ids)
    for method in ("cav", "cavmae"):
        for seed in (0, 1):
            for weights in ("pretrained", "untrained"):
                about = resolve(Request(method=method, data="soundshapes", sets=SETS, seed=seed)).to_dict()
                run_id = f"{method}{seed}{weights}".encode().hex()[:16] + str(seed) + weights[0]
                rng = np.random.default_rng([seed, len(method)])
                audio, visual = rng.normal(size=(2, len(ids), 1, 6)).astype(np.float32)
                visual += 2 * audio * (weights == "pretrained")
                _vectors(results, run_id, ids, audio, visual, weights)
                _curve(results, f"{run_id}p")
                found = TASK.evaluate(Features(ids, audio, visual), RetrievalConfig(resamples=50))
                record = _record(run_id, about, weights, seed, judged.sha256)
                record |= {**found.to_dict(), "stages": {"vectors": [run_id]}}
                write_record(results, record, found.per_sample)
    for method in ("cav", "cavmae"):
        about = resolve(Request(method=method, task="localization", data="soundshapes", sets=SETS)).to_dict()
        run_id = f"localization{method}"
        record = _record(run_id, about, "pretrained", 0, judged.sha256)
        record |= {"n": 8, "ids_sha256": judged.ids_sha256(), "metrics": {"AUC": 0.4 + len(method) / 50}}
        write_record(results, record, {"id": np.array(ids)})
        pictures = stage_folder(results, "localization", run_id) / "pictures"
        pictures.mkdir(parents=True)
        Image.new("RGB", (600, 300), "teal").save(pictures / "best.png")
    return results


def _record(run_id: str, config: dict[str, Any], weights: str, seed: int, sha256: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": run_id,
        "method": config["method"]["name"],
        "task": config["task"]["name"],
        "weights": weights,
        "data": DataConfig().source or "soundshapes",
        "split": "test",
        "seed": seed,
        "precision": "fp32",
        "config": config | {"weights": weights, "seed": seed},
        "created": "2026-01-02T03:04:05+00:00",
        "git": {"commit": "0123456789abcdef", "dirty": bool(seed), "diff_sha256": None},
        "hardware": {"processor": HOSTILE, "cores": 2, "memory_gib": 4.0},
        "versions": {"torch": "2.0"},
        "wall_s": {"evaluate": 1.5},
        "device_hours": 0.01,
        "data_sha256": sha256,
        "stages": {},
        "chance": {},
        "ci95": {},
    }


def _vectors(
    results: Path, name: str, ids: list[str], audio: np.ndarray[Any, Any], visual: np.ndarray[Any, Any], weights: str
) -> None:
    folder = stage_folder(results, "vectors", name)
    folder.mkdir(parents=True)
    np.save(folder / "audio.npy", audio)
    np.save(folder / "visual.npy", visual)
    (folder / "ids.json").write_text(json.dumps(ids))
    of = {"pretrain": f"{name}p"} if weights == "pretrained" else {"untrained": 0}
    (folder / "done.json").write_text(json.dumps({"id": name, "key": {"weights": of}}))


def _curve(results: Path, name: str) -> None:
    folder = stage_folder(results, "pretrain", name)
    folder.mkdir(parents=True)
    rows = "".join(f"{step},1,0.1,{4 / step},{step / 300}\n" for step in range(1, 201))
    (folder / "metrics.csv").write_text("step,epoch,lr,loss,wall_s\n" + rows)

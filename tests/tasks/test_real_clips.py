"""Retrieval, localization with pictures and classification from the command line, on real VGGSound clips."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avbench.cli import main
from avbench.running import weights
from avbench.running.request import Request, resolve
from avbench.training.export import save_weights

GREEN = (64, 255, 96)
MARGIN, TITLES, TILE = 12, 100, 208  # pixels of a sheet of overlays


@pytest.fixture(scope="module")
def clips(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the prepared clips that have boxes and two more, and weights that nobody trained."""
    folder = tmp_path_factory.mktemp("real")
    with (shared / "data/VGGSOUND_CROSSREF.csv").open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["vggsound_test_label"]]
    boxed = [row for row in rows if row["vggss_bbox"]]
    chosen = [*boxed, *[row for row in rows if not row["vggss_bbox"]][:2]]
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "label", "split"])
        for i, row in enumerate(chosen):
            kind = "music" if "playing" in row["vggsound_test_label"] else "other"
            writer.writerow([shared / "data" / row["file"], kind, ("train", "test")[i % 2]])
    words = ["--crop", "none", "--size", "112", "--workers", "1"]
    assert main(["data", "prepare", str(folder / "clips.csv"), "--out", str(folder / "prepared"), *words]) == 0
    sets = ("train.batch_size=2", "input.image_size=112", "model.decoder_depth=1", "data.split=all")
    config = resolve(Request(method="cavmae", data=str(folder / "prepared"), presets=("tiny",), sets=sets))
    save_weights(folder / "weights.safetensors", weights.build(config))
    return folder


def evaluate(folder: Path, capsys: pytest.CaptureFixture[str], task: str, *sets: str) -> dict[str, Any]:
    words = ["--method", "cavmae", "--checkpoint", str(folder / "weights.safetensors")]
    words += ["--data", str(folder / "prepared"), "--results", str(folder / "results"), "--format", "json"]
    assert main(["evaluate", "--task", task, *words, "--set", *sets]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    found: dict[str, Any] = record
    return found


@pytest.mark.slow
def test_real_clips_are_retrieved(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(clips, capsys, "retrieval", "data.split=all")
    assert found["n"] == 9
    assert 1 <= found["metrics"]["a2v/median_rank"] <= 9


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["image=stretch", "box_mapping=crop"])
def test_sounds_are_localized_in_real_clips_with_pictures(
    clips: Path, shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, rule: str
) -> None:
    annotations = shared / "data/annotations/vggss/vggss.json"
    sets = (f"task.annotations={annotations}", f"task.{rule}", f"task.picture_folder={tmp_path}", "data.split=all")
    found = evaluate(clips, capsys, "localization", *sets)
    assert found["n"] == 7
    assert found["metrics"]["oracle/cIoU@0.5"] == 1
    assert {"centre_disc/AUC", "whole_image/AUC", "gain/AUC"} <= found["metrics"].keys()
    (sheet,) = tmp_path.glob("*.png")
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    outputs = np.load(clips / "results/runs" / found["id"] / "per_sample.npz")
    # The box of the first panel, which is the best sample's, read from the picture.
    panel = (pixels[TITLES : TITLES + TILE, MARGIN : MARGIN + TILE] == GREEN).all(axis=2)
    entries = {entry["file"]: entry["bbox"] for entry in json.loads(annotations.read_text(encoding="utf-8"))}
    best = entries[str(outputs["id"][outputs["cIoU"].argmax()])]
    top, bottom = min(box[1] for box in best), max(box[3] for box in best)
    rows = np.flatnonzero(panel.any(axis=1))
    assert (rows[0] / TILE, rows[-1] / TILE) == pytest.approx((top, bottom), abs=0.02)


@pytest.mark.slow
def test_real_clips_are_classified(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ("task.steps=2", "task.batch_size=2", "task.average_from=0", "data.split=test")
    found = evaluate(clips, capsys, "classification", *sets)
    assert found["n"] == 4
    assert 0 <= found["metrics"]["joint/top1"] <= 1

"""Localization by area and by what is heard and seen: each stratum is the same metric of fewer samples."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from avbench.data.annotations.vggsounder import COLUMNS
from avbench.data.catalogue.entry import entry
from avbench.errors import InputError
from avbench.tasks.localization import TASK
from avbench.tasks.localizing.options import LocalizationConfig
from avbench.tasks.localizing.strata import AREAS, FLAGS

from .localization_subject import FakeSubject, planted, recomputed, subject

N, GRID = 12, (8, 8)
SIDES = (2, 3, 6)  # patches a side of the boxes: 6, 14 and 56 % of the picture
MODES = ("AV", "A", "V", "")  # of the sample's class; the last names another class
METRICS = ("cIoU@0.5", "AUC")


def model(tmp_path: Path) -> tuple[FakeSubject, LocalizationConfig]:
    classes = entry("vggsound").class_names
    masks, boxes = np.zeros((N, 1, *GRID)), []
    for i in range(N):
        side = SIDES[i % 3]
        masks[i, 0, :side, :side] = 1
        boxes.append({"file": f"clip{i}", "class": classes[i], "bbox": [[0.0, 0.0, side / 8, side / 8]]})
    (tmp_path / "vggss.json").write_text(json.dumps(boxes))
    with (tmp_path / "vggsounder.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for i in range(N - 2):  # the last two are not in it
            mode = MODES[i // 3]
            table.writerow([f"clip{i}", classes[i if mode else i + 1], mode or "AV", "False", "False", "False"])
    visual, sound = planted(masks, width=64, noise=0.6)
    made = subject(tmp_path, [f"clip{i}" for i in range(N)], visual, sound, grid=GRID)
    paths = {"annotations": str(tmp_path / "vggss.json"), "visibility": str(tmp_path / "vggsounder.csv")}
    return made, LocalizationConfig(resamples=30, pictures=0, **paths)


def test_a_stratum_is_the_metric_of_its_samples_with_its_own_gain_and_chance(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    result = TASK.run(made, config)
    outputs, numbers = result.per_sample, np.arange(N)
    assert outputs["visible"].tolist() == [1, 1, 1, *[0] * 7, -1, -1]
    areas = {name: numbers % 3 == place for place, name in enumerate(AREAS)}
    inside = areas | {name: outputs["visible"] == value for name, value in FLAGS.items()}
    levels = np.linspace(0, 1, 21)
    for name, chosen in inside.items():
        for row, key in (("", name), ("random/", ""), ("wrong_audio/", "")):
            hits = outputs[f"{row}cIoU"][chosen]
            expected = {
                "cIoU@0.5": np.mean(hits >= 0.5),
                "AUC": np.trapezoid([np.mean(hits >= level) for level in levels], levels),
            }
            for metric in METRICS if key else ():
                assert result.metrics[f"{name}/{metric}"] == pytest.approx(expected[metric])
            if row == "random/":
                assert result.chance[f"{name}/cIoU@0.5"] == pytest.approx(expected["cIoU@0.5"])
            if row == "wrong_audio/":
                gain = result.metrics[f"{name}/cIoU@0.5"] - expected["cIoU@0.5"]
                assert result.metrics[f"{name}/gain/cIoU@0.5"] == pytest.approx(gain)
        low, high = result.ci95[f"{name}/AUC"]
        assert low - 1e-9 <= result.metrics[f"{name}/AUC"] <= high + 1e-9
    assert recomputed(result, config) == result.metrics
    kinds = {key.partition("/")[2].rpartition("/")[0] for key in result.metrics if key.partition("/")[0] in inside}
    assert kinds == {"", "gain"}


def test_a_stratum_without_samples_is_left_out_and_the_flags_are_asked_for(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    plain = dataclasses.replace(config, visibility="")
    result = TASK.run(made, plain)
    assert not any(key.startswith(tuple(FLAGS)) for key in result.metrics)
    few = TASK.recompute(result.per_sample, ["clip0", "clip3"], plain)
    assert {key.partition("/")[0] for key in few if key.partition("/")[0] in AREAS} == {"small"}
    assert few["small/AUC"] == few["AUC"]


def test_a_file_of_other_clips_is_refused_and_its_content_is_part_of_a_run(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    assert set(TASK.files(config)) == {"annotations", "visibility"}
    text = (tmp_path / "vggsounder.csv").read_text().replace("clip", "other")
    (tmp_path / "vggsounder.csv").write_text(text)
    with pytest.raises(InputError, match=r"task\.visibility: .*none of 12 samples .* 'clip0' and 'other0'"):
        TASK.run(made, config)

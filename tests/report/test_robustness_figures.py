"""Figures of corruption and offset, from records made by code: values, seeds, the clean end, nothing to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from table_records import record

from avbench.report.figures import corruption, methods, offset
from avbench.report.figures.base import Context, NothingToDraw
from avbench.report.records import Records
from avbench.store.records import write_record

IDS = {"id": np.array(["a", "b"])}


def context(results: Path) -> Context:
    return Context(results, Records(results), "soundshapes")


def test_scores_fall_with_severity_from_the_clean_ones(tmp_path: Path) -> None:
    for seed, clean in ((0, 0.5), (1, 0.7)):
        metrics = {f"clean/{side}/R@10": clean for side in ("a2v", "v2a")}
        metrics |= {f"blur@{k}/{side}/R@10": clean - k / 20 for k in (1, 3) for side in ("a2v", "v2a")}
        write_record(tmp_path, record(f"run{seed}", "cavmae", "corruption", seed, metrics=metrics), IDS)
    (drawing,) = corruption.draw(context(tmp_path))
    table = drawing.table.set_index(["corruption", "severity"])
    assert set(drawing.table["corruption"]) == {"blur"}
    assert table["mean"].to_dict() == pytest.approx({("blur", 0): 60.0, ("blur", 1): 55.0, ("blur", 3): 45.0})
    assert table["count"].tolist() == [2, 2, 2]
    assert "seeds 0 1" in drawing.caption


def test_what_nearest_neighbours_measure_is_a_figure_of_its_own(tmp_path: Path) -> None:
    kinds = {"audiomae": "audio/top1", "cavmae": "joint/top1"}
    for method, name in kinds.items():
        metrics = {f"{where}/{name}": value for where, value in (("clean", 0.5), ("muffling@1", 0.4))}
        write_record(tmp_path, record(method, method, "corruption", 0, metrics=metrics), IDS)
    metrics = {f"{where}/{side}/R@10": 0.3 for where in ("clean", "muffling@1") for side in ("a2v", "v2a")}
    write_record(tmp_path, record("retrieves", "cavmae", "corruption", 0, metrics=metrics), IDS)
    retrieved, nearest = corruption.draw(context(tmp_path))
    assert (retrieved.part, nearest.part) == ("", "knn")
    assert set(retrieved.table["method"]) == {"cavmae"}
    assert set(zip(nearest.table["method"], nearest.table["metric"], strict=True)) == set(kinds.items())
    assert nearest.caption.startswith("kNN of trained models")
    assert [drawing.canvas.axes[0].get_ylabel() for drawing in (retrieved, nearest)] == ["R@10, %", "top1, %"]


def test_runs_that_differ_in_their_clips_damage_are_a_figure_of_their_task(tmp_path: Path) -> None:
    for seed, clean in ((0, 0.5), (1, 0.7)):
        for damage, lost in (("", 0.0), ("blur@1", 0.1), ("blur@4", 0.3), ("muffling@2", 0.05)):
            settings = {"data.corruption": damage}
            changes = {"metrics": {"joint/top1": clean - lost}, "settings": settings, "data_sha256": f"clips {damage}"}
            run = record(f"{seed}{damage}", "cavmae", "classification", seed, **changes)
            write_record(tmp_path, run, IDS)
    (drawing,) = corruption.draw(context(tmp_path))
    table = drawing.table.set_index(["corruption", "severity"])["mean"].to_dict()
    clean = {("blur", 0): 60.0, ("muffling", 0): 60.0}
    assert table == pytest.approx({**clean, ("blur", 1): 50.0, ("blur", 4): 30.0, ("muffling", 2): 55.0})
    assert drawing.part == "classification"
    assert "Mean drop: CAV-MAE sound 5.0, picture 20.0." in drawing.caption


def test_damaged_clips_are_in_no_other_figure(tmp_path: Path) -> None:
    for damage, value in (("", 0.5), ("blur@5", 0.1)):
        for method in ("cav", "cavmae"):
            run = record(
                f"{method}{damage}",
                method,
                "classification",
                settings={"data.corruption": damage},
                metrics={"joint/top1": value},
                created=f"2026-01-0{1 + len(damage) % 7}T00:00:00+00:00",
            )
            write_record(tmp_path, run, IDS)
    (drawing,) = methods.draw(context(tmp_path))
    assert drawing.table["score"].tolist() == [0.5, 0.5]


def test_curves_are_centred_and_the_caption_says_how_often_0_is_best(tmp_path: Path) -> None:
    for method, peak in (("cavmae", 0.0), ("cavmae_sync", 0.3)):
        metrics = {"-1 s/cosine": 0.1, "+0 s/cosine": 0.1 + peak, "+1 s/cosine": 0.1, "accuracy": 0.25 + peak}
        write_record(tmp_path, record(method, method, "offset", metrics=metrics), IDS)
    (drawing,) = offset.draw(context(tmp_path))
    sync = drawing.table[drawing.table["method"] == "cavmae_sync"].set_index("offset")["mean"]
    assert sync.to_dict() == pytest.approx({-1.0: -0.1, 0.0: 0.2, 1.0: -0.1})
    assert "CAV-MAE 25.0 %, CAV-MAE Sync 55.0 % of the clips (chance 33.3 %)" in drawing.caption


def test_without_records_the_command_is_named(tmp_path: Path) -> None:
    for figure, task in ((corruption, "corruption"), (offset, "offset")):
        with pytest.raises(NothingToDraw, match=f"avbench grid --methods all --tasks {task} --data soundshapes"):
            figure.draw(context(tmp_path))

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avbench.compare.outputs import Outputs, measured
from avbench.compare.terminal import render, render_evaluation
from avbench.store.reader import row_of
from avbench.store.records import SCHEMA, write_record


def record(**changes: Any) -> dict[str, Any]:
    metrics = {"a2v/R@10": 0.25, "a2v/median_rank": 31.0, "v2a/R@10": 0.01, "v2a/median_rank": 500.0}
    return {
        "schema": SCHEMA,
        "id": "-".join(str(changes.get(key)) for key in ("method", "seed", "config")),
        "method": "cav",
        "task": "retrieval",
        "weights": "pretrained",
        "data": "soundshapes",
        "split": "test",
        "seed": 0,
        "n": 1000,
        "ids_sha256": "a",
        "data_sha256": "b",
        "precision": "fp32",
        "created": "2026",
        "config": {},
        "metrics": metrics,
        "chance": {"a2v/R@10": 0.01, "v2a/R@10": 0.01},
        "ci95": {"a2v/R@10": (0.22, 0.28), "v2a/R@10": (0.004, 0.016), "a2v/median_rank": (28.0, 34.5)},
        **changes,
    }


def line(text: str, *parts: str) -> str:
    (found,) = (each for each in text.splitlines() if all(part in each for part in parts))
    return found


def test_fractions_are_percent_and_ranks_are_not() -> None:
    text = render([record()])
    assert "n = 1000 clips, seed 0; in %," in text
    row = line(text, "audio → visual", "25.00")
    assert "25.00 [22.0, 28.0]" in row
    assert "31.0 [28.0, 34.5]" in row


def test_only_intervals_that_contain_chance_are_marked() -> None:
    text = render([record()])
    assert "1.00 [0.4, 1.6]°" in line(text, "visual → audio", "500.0")
    assert "°" not in line(text, "audio → visual", "25.00")


def test_losses_are_not_in_percent_and_their_intervals_keep_their_digits() -> None:
    keys = ("audio/uniform@0.5/mse", "visual/uniform@0.5/mse")
    changes = {"metrics": dict.fromkeys(keys, 0.5314), "ci95": dict.fromkeys(keys, (0.5276, 0.5352)), "chance": {}}
    text = render([record(task="reconstruction", **changes)])
    assert "in %" not in text
    assert "0.531 [0.528, 0.535]" in text


def test_a_metric_that_nobody_states_is_printed_as_it_was_recorded() -> None:
    changes = {"metrics": {"joint/seconds": 2.5}, "ci95": {"joint/seconds": (2.25, 2.75)}, "chance": {}}
    text = render([record(task="reconstruction", **changes)])
    assert "in %" not in text
    assert "2.500 [2.250, 2.750]" in text


def test_seeds_are_one_row_of_mean_deviation_and_the_interval_over_seeds_and_clips(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    records = []
    for seed, share in enumerate((0.25, 0.27)):
        ranks = np.where(draw.permutation(1000) < 1000 * share, 1.0, 500.0)
        found = record(id=f"r{seed}", seed=seed, config={"task": {}}, metrics={"a2v/R@10": share})
        arrays = {"id": np.array([f"clip{i:04d}" for i in range(1000)]), "a2v_rank": ranks, "v2a_rank": ranks}
        write_record(tmp_path, found, arrays)
        records.append(found)
    text = render(records, tmp_path)
    assert "seeds 0 1" in text
    assert "[95 % interval over seeds and clips]" in text
    ends = Outputs(tmp_path).interval(measured([row_of(each, tmp_path) for each in records], "a2v/R@10"))
    assert ends is not None
    assert f"26.00 ± 1.41 [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" in text
    assert ends[1] - ends[0] > 0.2  # of two seeds that differ by two points little is known


def test_an_interval_over_seeds_without_outputs_is_left_out(tmp_path: Path) -> None:
    seeds = [record(id="a", config={"task": {}}), record(id="b", config={"task": {}}, seed=1)]
    for text in (render(seeds), render(seeds, tmp_path)):
        assert "25.00 ± 0.00" in text
        assert "[" not in text.split("°", 1)[1]


def test_rows_of_other_clips_get_a_footnote_and_their_own_chance() -> None:
    text = render([record(), record(method="cavmae", ids_sha256="b", n=999, chance={"a2v/R@10": 0.02})])
    assert "n = 999 or 1000 clips" in text
    assert "numbers of other clips do not compare" in text
    assert line(text, "chance (n = 999)", "2.00")
    assert "other clips" not in render([record(), record(method="cavmae")])


def test_an_evaluated_file_is_called_as_what_it_holds() -> None:
    result = {**record(task="localization"), "metrics": {"cIoU@0.5": 0.5}, "chance": {}, "ci95": {}}
    assert "heat maps" in line(render_evaluation(result, "heat maps"), "50.00")


def test_seeds_of_other_settings_are_not_averaged() -> None:
    text = render([record(), record(seed=1, config={"task": {"aggregation": "max"}}, metrics={"a2v/R@10": 0.5})])
    assert "±" not in text.split("\n", 1)[1]
    assert "25.00 [" in line(text, "cav ", "audio → visual")
    assert line(text, "cav, 2", "50.00")

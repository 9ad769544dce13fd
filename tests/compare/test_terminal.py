from __future__ import annotations

from typing import Any

from avbench.compare.terminal import render, render_evaluation


def record(**changes: Any) -> dict[str, Any]:
    metrics = {"a2v/R@10": 0.25, "a2v/median_rank": 31.0, "v2a/R@10": 0.01, "v2a/median_rank": 500.0}
    return {
        "method": "cav",
        "task": "retrieval",
        "weights": "pretrained",
        "data": "soundshapes",
        "split": "test",
        "seed": 0,
        "n": 1000,
        "ids_sha256": "a",
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


def test_seeds_are_one_row_of_mean_deviation_and_mean_interval() -> None:
    other = record(seed=1, metrics={**record()["metrics"], "a2v/R@10": 0.27})
    other["ci95"] = {**other["ci95"], "a2v/R@10": (0.24, 0.30)}
    text = render([record(), other])
    assert "seeds 0 1" in text
    assert "26.00 ± 1.41 [23.0, 29.0]" in text


def test_an_interval_that_one_seed_lacks_is_left_out() -> None:
    text = render([record(), record(seed=1, ci95={})])
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

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from avbench.errors import InputError
from avbench.report.tables import published


def test_all_measured_numbers_of_the_paper_are_there() -> None:
    rows = [number.row for number in published.read("cavmae")]
    assert len(rows) == 413
    assert Counter(row["origin"] for row in rows) == {"own": 335, "quoted": 78}
    counts = Counter(row["table"] for row in rows)
    assert counts["1"] == 89
    assert sum(counts[f"2{letter}"] for letter in "abcdefghi") == 28
    assert len(published.read(published.SETTINGS)) == 86


def test_the_retrieval_table_of_sync_is_there() -> None:
    rows = [number.row for number in published.read("cavmae_sync") if number.row["table"] == "retrieval"]
    assert len(rows) == 76
    assert Counter(row["row_label"] for row in rows) == {
        **dict.fromkeys(("VAB-Encodec", "CAV-MAE", "CAV-MAE Scale+", "LanguageBind", "ImageBind", "CAV-MAE Sync"), 12),
        "AVSiam": 4,
    }


@pytest.mark.parametrize("name", ["cavmae", "cavmae_sync", "successors"])
def test_each_number_says_where_it_is_from(name: str) -> None:
    for number in published.read(name):
        assert number.value >= 0
        for key in ("paper", "table", "row_label", "method", "task", "metric", "eval_dataset", "protocol", "source"):
            assert number.row[key], (key, dict(number.row))
        assert number.row["origin"] in ("own", "quoted")
    third = [number.row for number in published.read("successors") if number.row["remeasured_by"]]
    assert {"EquiAV", "ImageBind", "LanguageBind"} <= {row["row_label"] for row in third}


def test_the_numbers_are_those_of_the_facts(shared: Path) -> None:
    layout = json.loads((shared / "paper" / "layout.json").read_text(encoding="utf-8"))
    wanted = []
    for name, table in layout.items():
        if name.startswith("table_") and name != "table_04":
            with (shared / "paper" / table["file"]).open(encoding="utf-8", newline="") as handle:
                wanted += [
                    (row["table"], row["row_label"], row["metric"], row["value"]) for row in csv.DictReader(handle)
                ]
    found = [
        tuple(number.row[key] for key in ("table", "row_label", "metric", "value"))
        for number in published.read("cavmae")
    ]
    assert found == wanted


def test_a_number_is_found_by_its_place_or_not_at_all() -> None:
    wanted = {"row_label": "CAV-MAE", "finetune_dataset": "AudioSet-20K", "modality": "AV"}
    number = published.find("cavmae", "1", **wanted)
    assert number is not None
    assert number.text == "40.5"
    assert published.find("cavmae", "1", row_label="nobody") is None
    with pytest.raises(InputError, match="found 9 numbers"):
        published.find("cavmae", "1", row_label="CAV-MAE")

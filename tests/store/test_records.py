"""Records: written whole, read back, and refused when they are not records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench.errors import InputError
from avbench.store.records import (
    SCHEMA,
    all_records,
    content_id,
    read_per_sample,
    read_record,
    write_record,
)


def record(run_id: str = "a1", **changes: object) -> dict[str, object]:
    return {
        "schema": 1,
        "id": run_id,
        "method": "cavmae",
        "task": "retrieval",
        "seed": 0,
        "metrics": {"a2v/R@1": 0.25, "a2v/median_rank": 3.0},
        "ci95": {"a2v/R@1": [0.1, 0.4]},
        "chance": {"a2v/R@1": 0.01},
        "git": {"commit": "c0ffee"},
        **changes,
    }


def test_round_trip(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(), {"id": np.array(["x", "y"]), "a2v_rank": np.array([1.0, 2.5])})
    assert path.is_file()
    assert read_record(tmp_path, "a1") == record()
    assert read_record(tmp_path, "b2") is None
    assert read_per_sample(tmp_path, "a1")["a2v_rank"].tolist() == [1.0, 2.5]


@pytest.mark.parametrize("text", ["{", "[]", '{"id": "a1"}'])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    write_record(tmp_path, record(), {"id": np.array(["x"])})
    (tmp_path / "runs" / "a1" / "record.json").write_text(text)
    with pytest.raises(InputError, match=r"record\.json.*computes it again"):
        read_record(tmp_path, "a1")


def test_missing_per_sample_outputs_are_named(tmp_path: Path) -> None:
    write_record(tmp_path, record(), {"id": np.array(["x"])})
    (tmp_path / "runs" / "a1" / "per_sample.npz").write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"per_sample\.npz"):
        read_per_sample(tmp_path, "a1")


def test_the_id_is_a_function_of_the_content() -> None:
    assert content_id({"a": 1, "b": 2.0}) == content_id({"b": 2.0, "a": 1})
    assert content_id({"a": 1}) != content_id({"a": 2})


def test_records_of_before_are_read_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for run_id, schema in (("a1", 2), ("a2", SCHEMA), ("a3", 2)):
        write_record(tmp_path, record(run_id, schema=schema), {"id": np.array(["x"])})
    assert [each["id"] for each in all_records(tmp_path)] == ["a1", "a2", "a3"]
    (said,) = [each.getMessage() for each in caplog.records]
    assert said.startswith(f"{tmp_path / 'runs'}: 2 records are of an older schema than {SCHEMA}: read as they are;")

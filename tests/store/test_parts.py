"""Rows of several processes: shares that cover everything, parts that survive, rows that count once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench.store import parts
from avbench.store.arrays import PARTIAL, RowWriter


def values(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"audio": rows[:, None].astype(np.float32), "visual": -rows[:, None, None].astype(np.float32)}


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_are_disjoint_and_cover_everything(world: int) -> None:
    batches = [0, 2, 3, 7, 8]
    shares = [parts.share(batches, rank, world) for rank in range(world)]
    assert sorted(batch for each in shares for batch in each) == batches
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_row_that_two_processes_computed_counts_once(tmp_path: Path) -> None:
    for rows in ([0, 1, 4, 5], [4, 5, 2], [5, 5]):
        with parts.PartWriter(tmp_path) as writer:
            writer.write(np.array(rows), values(np.array(rows)))
    assert parts.finished(tmp_path, 7).tolist() == [True, True, True, False, True, True, False]
    known = np.arange(7) == 1
    found = list(parts.gathered(tmp_path, known))
    rows = np.concatenate([each for each, _ in found])
    assert sorted(rows.tolist()) == [0, 2, 4, 5]  # without 1, which was known
    assert np.array_equal(known, parts.finished(tmp_path, 7))
    for each, columns in found:
        for name, column in values(each).items():
            assert np.array_equal(columns[name], column)
    parts.remove(tmp_path)
    assert not parts.finished(tmp_path, 7).any()


def test_what_was_computed_before_an_error_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), parts.PartWriter(tmp_path) as writer:
        writer.write(np.array([3]), values(np.array([3])))
        raise KeyboardInterrupt
    assert parts.finished(tmp_path, 4).tolist() == [False, False, False, True]


def test_a_writer_without_rows_leaves_nothing(tmp_path: Path) -> None:
    with parts.PartWriter(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_damaged_part_is_set_aside_and_its_rows_are_not_done(tmp_path: Path, content: bytes) -> None:
    with parts.PartWriter(tmp_path) as writer:
        writer.write(np.arange(2), {"a": np.ones((2, 1), np.float32)})
    (tmp_path / "parts" / "000000002-x.npz").write_bytes(content)
    assert parts.finished(tmp_path, 4).tolist() == [True, True, False, False]
    assert (tmp_path / "parts" / "000000002-x.npz.damaged").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"rows": 2}', '{"rows": 9, "arrays": ["a"]}', '{"rows": 2, "arrays": ["b"]}']
)
def test_a_damaged_note_of_unfinished_arrays_is_set_aside(tmp_path: Path, text: str) -> None:
    writer = RowWriter(tmp_path, 4)
    writer.write({"a": np.ones((2, 1), np.float32)})
    writer.sync()
    assert RowWriter(tmp_path, 4).rows == 2
    (tmp_path / PARTIAL).write_text(text)
    assert RowWriter(tmp_path, 4).rows == 0
    assert (tmp_path / f"{PARTIAL}.damaged").exists()

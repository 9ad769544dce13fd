"""Arrays on disk: rows that survive a crash, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from avbench.store import arrays as array_files
from avbench.store.arrays import RowWriter
from avbench.store.extracted import arrays, unit_length


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    values = np.arange(first, first + count, dtype=np.float32)
    return {"audio": values[:, None, None] * np.ones((1, 2, 3), np.float32), "joint": values[:, None, None]}


def test_rows_go_on_after_a_crash_and_lose_only_what_was_not_synced(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path, 10)
    writer.write(rows(0, 4))
    writer.sync()
    writer.write({name: value * np.nan for name, value in rows(4, 2).items()})  # never synced
    again = RowWriter(tmp_path, 10)
    assert again.rows == 4
    again.write(rows(4, 6))
    again.finish()
    found = arrays(tmp_path)
    assert set(found) == {"audio", "joint"}
    assert isinstance(found["audio"], np.memmap)
    assert found["audio"].shape == (10, 2, 3)
    for name, values in rows(0, 10).items():
        assert np.array_equal(found[name], values)
    assert not list(tmp_path.glob("partial*"))


def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_files.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        RowWriter(tmp_path, 10).write(rows(0, 4))


def test_unit_length_is_that_of_torch() -> None:
    vectors = np.random.default_rng(0).standard_normal((5, 2, 7)).astype(np.float32)
    vectors[0, 0] = 0
    assert np.allclose(unit_length(vectors), F.normalize(torch.from_numpy(vectors), dim=-1).numpy(), atol=1e-7)

from __future__ import annotations

from pathlib import Path

import clip_files
import pytest

from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.stored import open_clips
from avbench.errors import InputError


def test_opens_both_layouts(tmp_path: Path) -> None:
    assert len(open_clips(clip_files.prepared(tmp_path / "p", n=4))) == 4
    assert len(open_clips(clip_files.authors(tmp_path / "a", n=3))) == 3


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        open_clips(tmp_path / "nothing")


def test_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.parquet"):
        open_clips(tmp_path)


def test_hash_of_ids_ignores_order() -> None:
    assert hash_ids(["b", "a"]) == hash_ids(["a", "b"]) != hash_ids(["a", "c"])

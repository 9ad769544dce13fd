"""A crash while writing leaves the old file or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.files import atomic_folder, atomic_path, canonical_json, sha256_file, sha256_text, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with atomic_folder(target) as temporary:
        (temporary / "x").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "x").write_text("half")
        raise RuntimeError
    assert (target / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / name).write_text(name)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["second"]


def test_canonical_json_does_not_depend_on_order_and_refuses_nan(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [1, 2]}) == canonical_json({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_hashes_agree(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "abc")
    assert sha256_file(tmp_path / "a") == sha256_text("abc")
    assert sha256_text("abc").startswith("ba7816bf")

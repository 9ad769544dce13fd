"""The features file: what is written is read, and what cannot be used is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.errors import InputError
from avbench.store.features import Features, read_features, write_features


def arrays(n: int = 3, frames: int = 2, d: int = 4) -> dict[str, Any]:
    audio, visual = np.random.default_rng(0).standard_normal((2, n, frames, d)).astype(np.float32)
    return {"id": np.array([f"é{i}" for i in range(n)]), "audio": audio, "visual": visual}


def test_round_trip(tmp_path: Path) -> None:
    given = arrays()
    path = tmp_path / "folder" / "x.npz"
    write_features(path, Features(given["id"].tolist(), given["audio"], given["visual"]), {"method": {"name": "ü"}})
    found = read_features(path)
    assert found.ids == given["id"].tolist()
    assert found.config == {"method": {"name": "ü"}}
    for name in ("audio", "visual"):
        assert getattr(found, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(found, name), given[name])
    with np.load(path, allow_pickle=False) as stored:
        assert sorted(stored.files) == ["audio", "config", "id", "visual"]
    assert [file.name for file in path.parent.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_other_kinds_of_numbers_and_two_axes(tmp_path: Path, dtype: Any) -> None:
    values = np.arange(1, 13).reshape(3, 4).astype(dtype)
    np.savez(tmp_path / "x.npz", id=[10, 11, 12], audio=values, visual=values)
    found = read_features(tmp_path / "x.npz")
    assert found.ids == ["10", "11", "12"]
    assert found.audio.shape == (3, 1, 4)
    assert found.audio.dtype == np.float32
    assert found.config == {}


def test_a_strange_config_is_no_obstacle(tmp_path: Path) -> None:
    for config in (np.arange(3), np.array("not json"), np.array("[1]")):
        np.savez(tmp_path / "x.npz", config=config, **arrays())
        assert read_features(tmp_path / "x.npz").config == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audio": None}, "missing audio"),
        ({"id": None, "visual": None}, "missing id, visual"),
        ({"audio": np.zeros((2, 2, 4), np.float32)}, "3 ids, 2 audio and 3 visual rows"),
        ({"audio": np.zeros(3, np.float32)}, r"audio: found shape \(3,\)"),
        ({"audio": np.zeros((3, 2, 4, 1), np.float32)}, "audio: found shape"),
        ({"audio": np.zeros((3, 0, 4), np.float32)}, "audio: found shape"),
        ({"audio": np.zeros((3, 2, 5), np.float32)}, r"widths 5 \(audio\) and 4"),
        ({"visual": np.zeros((3, 2, 4), complex)}, "visual: found values of type complex128"),
        ({"visual": np.full((3, 2, 4), "a")}, "visual: found values of type"),
        ({"id": np.array(["a", "b", "a"])}, r"1 ids a second time \(a\)"),
        ({"id": np.array([["a", "b", "c"]])}, "id: found shape"),
        ({"id": np.array([0.5, 1, 2])}, "id: found shape"),
        ({"id": np.array(["a", "b", None], dtype=object)}, "stored as text"),
        ({"id": np.array([b"a", b"b", b"\xff"])}, "id: found what is no text"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "x.npz"
    given = {name: array for name, array in (arrays() | change).items() if array is not None}
    np.savez(path, **given)
    with pytest.raises(InputError, match=words) as error:
        read_features(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).count(str(path)) == 1
    assert "\n" not in str(error.value)


def test_no_clips_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{name: array[:0] for name, array in arrays().items()})
    with pytest.raises(InputError, match="shape"):
        read_features(tmp_path / "x.npz")


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(InputError, match="no such file"):
        read_features(path)
    with pytest.raises(InputError, match="found a folder"):
        read_features(tmp_path)
    np.savez(path, **arrays())
    whole = path.read_bytes()
    for content in (b"", b"id,audio,visual\n", b"PK\x03\x04 and no more", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as"):
            read_features(path)
    with path.open("wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        read_features(path)


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **arrays(n=200, d=64))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_features(path)

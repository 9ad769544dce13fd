"""Features, heat maps and masks that others made, malformed in every way: refused in one line."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusal import refuse

from avbench.data.annotations.soundshapes import MaskFile
from avbench.errors import InputError

N = 6
IDS = np.array([f"c{i}" for i in range(N)])


def arrays(name: str) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 9, (N, 40, 40)).astype(np.float32)
    if name == "map":
        return {"id": IDS, "map": noise}
    return {"id": IDS, "audio": noise[:, 0], "visual": noise[:, 1]}


def member(content: bytes, replaced: str = "") -> Callable[[Path, str], None]:
    """One array's bytes replaced: of the id, or of the first array that is none."""

    def write(path: Path, name: str) -> None:
        np.savez(path, **arrays(name))
        with zipfile.ZipFile(path) as archive:
            kept = {each: archive.read(each) for each in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for each, data in (kept | {f"{replaced or name}.npy": content}).items():
                archive.writestr(each, data)

    return write


def header(text: str, version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


def shape(text: str, kind: str = "<f4") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({text}), }}\n")


def patched(place: int, value: int) -> Callable[[Path, str], None]:
    """A field of every entry of the archive changed: its flags or its compression."""

    def write(path: Path, name: str) -> None:
        np.savez(path, **arrays(name))
        data = bytearray(path.read_bytes())
        for mark, offset in ((b"PK\x03\x04", place), (b"PK\x01\x02", place + 2)):
            found = data.find(mark)
            while found >= 0:
                data[found + offset] = value
                found = data.find(mark, found + 4)
        path.write_bytes(data)

    return write


def deflated(path: Path, name: str) -> None:
    np.savez_compressed(path, **arrays(name))
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo(f"{name}.npy")
    data = bytearray(path.read_bytes())
    start = place.header_offset + 150  # within the first tables of the stream
    data[start : start + 40] = bytes(255 - byte for byte in data[start : start + 40])
    path.write_bytes(data)


def with_arrays(**changed: Any) -> Callable[[Path, str], None]:
    return lambda path, name: np.savez(path, **arrays(name) | changed)


def raw(content: bytes) -> Callable[[Path, str], None]:
    return lambda path, name: path.write_bytes(content) and None


ROWS: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "damaged compression": (deflated, "cannot be read (Error -3 while decompressing"),
    "encryption flag": (patched(6, 1), "cannot be read (File 'id.npy' is encrypted"),
    "unknown compression": (patched(8, 99), "cannot be read (That compression method is not supported"),
    "huge header": (member(header("(" + "1," * 200_000 + ")", 2)), "cannot be read (Header info length"),
    "nested header": (member(header("(" * 5000)), "cannot be read ("),
    "deep header": (member(header("-" * 9000 + "1")), "cannot be read ("),
    "terabytes": (member(shape("4000000000000,")), "more than there is memory for"),
    "a number too large": (member(shape("9" * 30 + ", 6")), "cannot be read ("),
    "booleans for a shape": (member(shape("True, True") + bytes(4)), "cannot be read ("),
    "negative": (member(shape("-6, 6")), "cannot be read ("),
    "cut off": (member(shape("6, 6") + bytes(10)), "cannot be read ("),
    "no array": (member(b"no array at all"), "found no array"),
    "empty member": (member(b""), "found no array"),
    "objects": (with_arrays(id=np.array([*IDS[1:], None], dtype=object)), "Text must be stored as text"),
    "surrogates": (with_arrays(id=np.array(["c\udc80", *IDS[1:]])), "id: found what is no text"),
    "bytes that are no text": (with_arrays(id=np.array([b"\xff", *IDS[1:].astype("S")])), "id: found what is no text"),
    "beyond Unicode": (member(shape("6,", "<U1") + b"\xff" * 24, "id"), "id: found"),
    "twice": (with_arrays(id=np.array(["c"] * N)), "found 5 ids a second time"),
    "control characters": (with_arrays(id=np.array(["c\x1b[2J"] * N)), r"(c\x1b[2J, c\x1b[2J"),
    "text for numbers": (lambda path, name: with_arrays(**{name: IDS})(path, name), f"{N},"),
    "no zip": (raw(b"text"), "cannot be read as .npz"),
    "an empty file": (raw(b""), "cannot be read as .npz"),
    "an empty archive": (raw(b"PK\x05\x06" + bytes(18)), "found no arrays, missing id"),
}


@pytest.mark.parametrize("name", ["audio", "map"])
@pytest.mark.parametrize("row", ROWS)
def test_a_malformed_file_is_refused(
    row: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write, expected = ROWS[row]
    write(Path("x.npz"), name)
    entries = [{"file": each, "bbox": [[0, 0, 1, 1]], "class": "x"} for each in IDS.tolist()]
    Path("boxes.json").write_text(json.dumps(entries))
    if name == "audio":
        words = ["evaluate", "--task", "retrieval", "--features", "x.npz"]
    else:
        words = ["evaluate", "--task", "localization", "--heatmaps", "x.npz", "--annotations", "boxes.json"]
    if row == "text for numbers":
        expected = "valid: numbers" if name == "audio" else "numbers."

    refuse(words, expected, capsys, tmp_path)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((3, 4), np.uint8), r"a: found shape \(3, 4\)"),
        (np.zeros((2, 4, 4), np.uint8), "a: found shape"),
        (np.zeros((3, 4, 4), np.float32), "of type float32"),
        (np.array([None]), "Python objects"),
    ],
)
def test_masks_that_are_none_are_refused(masks: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", times=np.arange(3.0), a=masks)
    with pytest.raises(InputError, match=message):
        MaskFile(tmp_path / "masks.npz").mask("a", 0.0)


def test_masks_without_times_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", times=np.array([[None]]))
    with pytest.raises(InputError, match="times: cannot be read"):
        MaskFile(tmp_path / "masks.npz")
    np.savez(tmp_path / "masks.npz", times=np.zeros((2, 2)))
    with pytest.raises(InputError, match="times: found shape"):
        MaskFile(tmp_path / "masks.npz")

"""Whichever library decodes a JPEG: the same pixels, and the same refusals."""

from __future__ import annotations

import io
import struct

import clip_files
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from avbench.data.media import jpeg


def written(mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(clip_files.picture(0, (60, 83))).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8] | None:
    """Returns the picture, or None where Pillow refuses it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError:
        return None


def found(data: bytes) -> NDArray[np.uint8] | None:
    try:
        return jpeg.decode_jpeg(data)
    except OSError:
        return None


@pytest.fixture(params=["simplejpeg", "Pillow"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Pillow":
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)
    else:
        pytest.importorskip("simplejpeg")
    return str(request.param)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("options", [{}, {"quality": 30, "progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
def test_every_jpeg_becomes_rgb(library: str, mode: str, options: dict[str, object]) -> None:
    data = written(mode, **options)
    pixels = jpeg.decode_jpeg(data)
    assert pixels.shape == (60, 83, 3)
    np.testing.assert_array_equal(pixels, by_pillow(data))


def test_colours_stored_as_rgb_and_other_formats_are_read(library: str) -> None:
    data = written("RGB", keep_rgb=True)
    np.testing.assert_array_equal(jpeg.decode_jpeg(data), by_pillow(data))
    buffer = io.BytesIO()
    Image.fromarray(clip_files.picture(0)).convert("P").save(buffer, "PNG")
    np.testing.assert_array_equal(jpeg.decode_jpeg(buffer.getvalue()), by_pillow(buffer.getvalue()))


def test_damaged_pictures_are_what_pillow_makes_of_them(library: str) -> None:
    whole, rng = written("RGB"), np.random.default_rng(0)
    outcomes = set()
    for turn in range(300):
        data = bytearray(whole)
        if turn % 3 == 0:
            del data[rng.integers(len(data)) :]
        else:
            data[rng.integers(len(data) if turn % 3 == 1 else 600)] = rng.integers(256)
        if turn % 7 == 0:
            data += bytes(9)
        expected, pixels = by_pillow(bytes(data)), found(bytes(data))
        assert (pixels is None) == (expected is None)
        if pixels is not None:
            np.testing.assert_array_equal(pixels, expected)
        outcomes.add(pixels is None)
    assert outcomes == {False, True}


def test_a_header_of_a_monstrous_size_is_refused(library: str) -> None:
    data = written("RGB")
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(OSError, match="decompression bomb"):
        jpeg.decode_jpeg(data[:at] + struct.pack(">HH", 65500, 65500) + data[at + 4 :])

"""From a decoded video frame to a stored picture: colours, rotation, size, JPEG."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray
from PIL import Image, ImageOps

from avbench.data.media.verdict import Rejected

if TYPE_CHECKING:
    from avbench.data.media.prepare_settings import PrepareSettings

# AVColorSpace numbers (ITU-T H.273 MatrixCoefficients) to swscale's. Untagged video is read as BT.601, as
# ffmpeg and OpenCV (and so the reference) do.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# A frame narrower than this is cut before it is enlarged: 1 x 4000 pixels must not become 224 x 896,000.
_MAX_ASPECT = 16
# Quarter turns anticlockwise -> their display matrix.
_TURNS = {
    1: struct.pack("=5i", 0, -1, 0, 1, 0),
    2: struct.pack("=5i", -1, 0, 0, 0, -1),
    3: struct.pack("=5i", 0, 1, 0, -1, 0),
}
# Keeps its tables from one frame to the next of the same kind; building them takes longer than a small frame.
_reformatter = VideoReformatter()


def to_picture(frame: av.VideoFrame, settings: PrepareSettings) -> Image.Image:
    """Returns a frame as it is shown and as it is stored: 8-bit RGB, upright, resized and cropped.

    The short side becomes ``settings.size``. Sizes and offsets are torchvision's Resize(size) + CenterCrop(size) on a
    PIL image, bilinear with antialiasing (docs/protocol/cavmae.md 2.2). The frame's own colour matrix, range and
    display matrix are honoured; HDR transfer curves are kept, not tone-mapped.
    """
    matrix = _MATRICES.get(int(frame.colorspace))
    picture: Any = _reformatter.reformat(frame, format="rgb24", src_colorspace=matrix).to_ndarray()
    return _cropped(_upright(_resized(picture, settings.size), frame), settings)


def open_picture(path: Path, settings: PrepareSettings) -> Image.Image:
    """Returns a picture file as :func:`to_picture` does a frame; of several pictures in it, the first.

    Raises:
        Rejected: It is missing, no picture, damaged, or too large.
    """
    if not path.is_file():
        raise Rejected("file not found")
    try:
        with Image.open(path) as image:
            if image.width * image.height > settings.max_pixels:
                raise Rejected(
                    "picture too large", f"{image.width} x {image.height} (limit {settings.max_pixels} pixels)"
                )
            picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Rejected("not a picture", str(error).splitlines()[0][:200]) from None
    return _cropped(_resized(picture, settings.size), settings)


def _cropped(image: Image.Image, settings: PrepareSettings) -> Image.Image:
    if settings.crop == "none":
        return image
    size = settings.size
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _resized(picture: NDArray[np.uint8], size: int) -> Image.Image:
    height, width = picture.shape[:2]
    longest = _MAX_ASPECT * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    image = Image.fromarray(picture[top : top + longest, left : left + longest])
    width, height = image.size
    target = (size, size * height // width) if width <= height else (size * width // height, size)
    if target == image.size:
        return image
    # Only pictures more than six times too large are reduced by whole pixels first; the rest is the plain filter.
    return image.resize(target, Image.Resampling.BILINEAR, reducing_gap=3.0)


def _upright(image: Image.Image, frame: av.VideoFrame) -> Image.Image:
    data = _display_matrix(frame)
    if data is None:
        return image
    # Nine 32-bit numbers; a point (x, y) is shown at (a x + c y, b x + d y). Only the quarter turns and mirrors
    # that cameras write are meant: the larger of a pair decides.
    a, b, _, c, d = struct.unpack("=5i", data[:20])
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.transpose(Image.Transpose.TRANSPOSE)
        a, d = c, b
    if a < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if d < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _display_matrix(frame: av.VideoFrame) -> bytes | None:
    # PyAV's frame.side_data fails as a whole where one entry is of a kind it has no name for (EXIF, views of stereo
    # video). Filled by hand it keeps what comes before that entry; decoders put the display matrix first.
    entries: Any = SideDataContainer.__new__(SideDataContainer)
    with contextlib.suppress(ValueError):
        entries.__init__(frame)
    for entry in entries:
        with contextlib.suppress(ValueError):
            if entry.type is Type.DISPLAYMATRIX:
                return bytes(entry)
    # Behind such an entry PyAV tells the turn alone, not a mirror.
    return _TURNS.get(round(frame.rotation / 90) % 4)


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """Returns a picture as JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()

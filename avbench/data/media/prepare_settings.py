"""What decides the content of a prepared folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avbench.config import MODALITIES, Modality, Sampling
from avbench.data.media.frame_grid import fractions
from avbench.errors import InputError
from avbench.files import read_json
from avbench.settings import Settings, build, setting

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))  # endings of files that are one picture
# What the authors' own scripts do otherwise. Theirs use the whole of a file, the reference's frames its first 10 s.
_AUTHORS: dict[str, Any] = {
    "frame_choice": "count",
    "size": 224,
    "crop": "centre",
    "jpeg_quality": 75,
    "sample_rate": 16000,
    "channels": "first",
    "sound_clock": "own",
    "max_seconds": 3600.0,
}
LIKE: dict[str, dict[str, Any]] = {
    "cavmae": {"n_frames": 10, "sampling": "even", "frame_seconds": 10.0, **_AUTHORS},
    "sync": {"n_frames": 16, "sampling": "ends", **_AUTHORS},
}


@dataclass(frozen=True, kw_only=True)
class PrepareSettings(Settings):
    """How a media file becomes clips (docs/protocol/cavmae.md 2.2; Sync's extractor: docs/protocol/cavmae_sync.md 2).

    The fields marked ``identity=False`` only bound the work, or say in what form the same samples are stored: they
    cannot change a clip that is accepted.
    """

    modality: Modality = setting(
        "auto", "both, or audio or visual alone; auto: both if a file has both, else the one that all files have"
    )
    n_frames: int = setting(10, "frames kept per clip (CAV-MAE 10, Sync 16)", ge=1, le=512)
    sampling: Sampling = setting(
        "even", "frame times over D seconds: even i*D/n (reference), centre (i+.5)*D/n, ends i*D/(n-1) (Sync)"
    )
    frame_choice: Literal["time", "count"] = setting(
        "time", "time: the frame shown then; count: by its number, int(i*N/n)-1 of N, or int(i*(N-1)/(n-1)) (reference)"
    )
    frame_seconds: float = setting(0.0, "take frames from the first N seconds; 0: from the whole clip", ge=0, le=3600)
    size: int = setting(224, "short side of a stored frame, pixels", ge=16, le=4096)
    crop: Literal["centre", "none"] = setting(
        "centre", "centre: a square, as the reference; none: keep the whole frame"
    )
    jpeg_quality: int = setting(90, "JPEG quality of the stored frames (the reference's default is 75)", ge=1, le=100)
    sample_rate: int = setting(16000, "stored audio, samples per second", ge=1000, le=192000)
    channels: Literal["mix", "first", "stereo"] = setting(
        "mix", "mix: all channels to one; first: the first only (reference); stereo: two, for encoders that hear two"
    )
    sound_clock: Literal["shared", "own"] = setting(
        "shared", "shared: the picture's; own: sound begins with its first sample, and gaps are closed (reference)"
    )
    max_seconds: float = setting(10.0, "use only the first N seconds of a file", gt=0, le=3600)
    window: float = setting(0.0, "cut long files into clips of N seconds; 0: one clip per file", ge=0, le=3600)
    stride: float = setting(0.0, "seconds between the starts of two windows; 0: the window's length", ge=0)
    min_fraction: float = setting(
        0.5, "a clip with less than this share of its sound, picture or length is rejected", ge=0, le=1
    )
    max_pixels: int = setting(2**26, "largest width x height that is decoded", ge=1, le=2**30)
    sound: Literal["pcm", "flac"] = setting(
        "pcm", "stored sound: pcm is read in a twentieth of the time; flac takes a quarter less disk", identity=False
    )
    file_timeout: float = setting(60.0, "longest time for one clip, s of the wall clock", gt=0, identity=False)
    memory_gb: float = setting(4.0, "largest address space of one worker, GiB", ge=0.5, identity=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What a clip must have, and what is stored of it: ``audio``, ``visual`` or both."""
        return (self.modality,) if self.modality in MODALITIES else MODALITIES

    @property
    def length(self) -> float:
        """Longest duration of a clip, seconds."""
        return self.window or self.max_seconds

    @property
    def step(self) -> float:
        """Seconds between the starts of two windows."""
        return self.stride or self.window

    def times(self, duration: float) -> NDArray[np.float64]:
        """Returns the ``n_frames`` times, in seconds, at which a video of ``duration`` seconds is looked at."""
        return fractions(self.n_frames, self.sampling) * duration


def read_settings(root: Path) -> PrepareSettings | None:
    """Returns how a prepared folder was made; None where it does not tell, or another version of avbench made it."""
    try:
        found = read_json(root / "prepare.json")["settings"]
        return build(PrepareSettings, found) if found else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
        return None


def unlike(settings: PrepareSettings, like: str) -> list[str]:
    """Returns what was done otherwise than by the authors named, a few words each.

    Frames and their times are left out: a run has those it asks for, or is refused.
    """
    return [
        f"{name} {getattr(settings, name)} (theirs {value})"
        for name, value in LIKE[like].items()
        if name not in ("n_frames", "sampling") and getattr(settings, name) != value
    ]

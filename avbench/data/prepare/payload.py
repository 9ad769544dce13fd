"""What a worker hands to the driver: a clip as the bytes that will be stored, or why there is none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avbench.data.media.decode import DecodedSpan
    from avbench.data.media.prepare_settings import PrepareSettings


@dataclass(frozen=True)
class EncodedClip:
    """A clip, encoded: JPEG frames and sound as WAV or FLAC, and their columns of the manifest.

    A clip of sound alone has no frames, one of pictures alone no bytes of sound.

    ``sha256`` tells what the clip is, in whatever form its sound is stored: it is that of the frames and of the sound
    as FLAC. ``stored_sha256`` is that of the bytes that are written, where these are others.
    """

    start: float
    duration: float
    frames: list[bytes]
    frame_times: list[float]
    audio: bytes
    n_samples: int
    sample_rate: int
    silent: bool
    notes: str
    sha256: str
    stored_sha256: str | None

    @property
    def size(self) -> int:
        """Bytes of frames and sound."""
        return sum(map(len, self.frames)) + len(self.audio)


@dataclass(frozen=True)
class Refusal:
    """A span of a file that cannot be used, from ``start`` seconds, and the reason."""

    start: float
    reason: str


@dataclass(frozen=True)
class Done:
    """Nothing more comes from this file."""


@dataclass(frozen=True)
class Tracks:
    """What a file has, of sound and pictures: what is said in place of clips where the settings leave it open."""

    modalities: tuple[str, ...]


Message = EncodedClip | Refusal | Tracks | Done


def content_sha256(frames: list[bytes], audio: bytes) -> str:
    """Returns the SHA-256 of the frames' bytes in order, followed by the sound's."""
    digest = hashlib.sha256()
    for part in [*frames, audio]:
        digest.update(part)
    return digest.hexdigest()


def encode(clip: DecodedSpan, settings: PrepareSettings) -> EncodedClip:
    """Encodes a decoded clip; a frame that stands for several times is encoded once."""
    from avbench.data.media.sound import encode_flac
    from avbench.data.media.stored_picture import encode_jpeg
    from avbench.data.media.waveform import encode_wav

    encoded = {id(frame): frame for frame in clip.frames}
    jpegs = {key: encode_jpeg(frame, settings.jpeg_quality) for key, frame in encoded.items()}
    frames = [jpegs[id(frame)] for frame in clip.frames]
    audio, flac, pcm = b"", b"", settings.sound == "pcm" and clip.samples is not None
    if clip.samples is not None:
        flac = encode_flac(clip.samples, clip.sample_rate)
        audio = encode_wav(clip.samples, clip.sample_rate) if pcm else flac
    return EncodedClip(
        start=clip.start,
        duration=clip.duration,
        frames=frames,
        frame_times=clip.frame_times,
        audio=audio,
        n_samples=0 if clip.samples is None else len(clip.samples),
        sample_rate=clip.sample_rate,
        silent=clip.silent,
        notes=clip.notes,
        sha256=content_sha256(frames, flac),
        stored_sha256=content_sha256(frames, audio) if pcm else None,
    )

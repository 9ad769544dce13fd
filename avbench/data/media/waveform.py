"""Reading whole sound files and stored sound to a mono float32 waveform, and resampling."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# STREAMINFO of a FLAC file: its length, and where its sample rate's 20 bits begin (RFC 9639, 8.2).
_STREAMINFO = 34
_RATE_AT = 10
_WAV_HEADER = 44  # bytes
_WAV_LARGEST = 2**32 - 1 - _WAV_HEADER  # bytes of sound


def encode_wav(samples: NDArray[np.int16], rate: int) -> bytes:
    """Returns int16 samples, (n,) or (n, 2), as a WAV file."""
    return _wav_header(samples.size, rate, samples.ndim) + samples.astype("<i2", copy=False).tobytes()


def _wav_header(values: int, rate: int, channels: int) -> bytes:
    size, each = min(2 * values, _WAV_LARGEST), 2 * channels
    # Bytes that follow, PCM, channels, rates, bytes of a moment, bits of a sample.
    sound = (16, 1, channels, rate, each * rate, each, 16)
    return struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVEfmt ", *sound, b"data", size)


def read_sound(path: Path) -> tuple[NDArray[np.float32], int]:
    """Returns a sound file as a mono waveform (samples,) in [-1, 1] and its own sample rate.

    Channels are averaged. The reference keeps the first one instead (docs/protocol/cavmae.md 2.3).

    Raises:
        OSError: The file is missing, or cannot be read.
        ValueError: It holds no sound.
    """
    if path.suffix.lower() == ".wav":
        found = _read_pcm16(path)
        if found is not None:
            return found
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise ValueError("no audio track")
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        parts = [_mono(frame) for frame in container.decode(stream)]
        rate = stream.rate or 0
    if not parts or not rate:
        raise ValueError("no sound")
    return np.concatenate(parts), rate


def _read_pcm16(path: Path) -> tuple[NDArray[np.float32], int] | None:
    """Reads the commonest WAV without FFmpeg's overhead (a fiftieth of the time); None: another kind of WAV."""
    try:
        with path.open("rb") as handle, wave.open(handle) as reader:
            channels, rate = reader.getnchannels(), reader.getframerate()
            if reader.getsampwidth() != 2 or not rate:
                return None
            samples = np.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2")
    except (wave.Error, EOFError):
        return None
    if len(samples) < channels:
        return None
    whole = samples[: len(samples) // channels * channels].reshape(-1, channels)
    mono = whole[:, 0] if channels == 1 else whole.mean(axis=1, dtype=np.float32)
    return mono * np.float32(1 / 32768), rate


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    values: NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / 128 - 1
    scale = 1.0 if values.dtype.kind == "f" else 1.0 / -float(np.iinfo(values.dtype).min)
    mean = values[0] if channels == 1 else values.mean(axis=0, dtype=np.float64)
    samples: NDArray[np.float32] = (mean * scale).astype(np.float32)
    return samples


def decode_stored(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Returns the stored sound of a clip, WAV or FLAC, as a waveform in [-1, 1] and its sample rate.

    Returns:
        (samples,), or (2, samples) of two channels.

    Raises:
        ValueError: The bytes are neither a 16-bit WAV file of ours nor such a FLAC file.
        av.error.FFmpegError: A frame of FLAC is damaged.
    """
    if data[:4] != b"RIFF":
        return decode_flac(data)
    rate, size = int.from_bytes(data[24:28], "little"), len(data) - _WAV_HEADER
    channels = data[22] if size >= 0 else 0
    if channels not in (1, 2) or data[:_WAV_HEADER] != _wav_header(size // 2, rate, channels):
        raise ValueError("not a 16-bit WAV file of one or two channels, or not a whole one")
    return _split(np.frombuffer(data, "<i2", offset=_WAV_HEADER), channels), rate


def _split(values: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """Returns interleaved 16-bit samples as (samples,), or (2, samples) of two channels."""
    sound: NDArray[np.float32] = values * np.float32(1 / 32768)
    return sound if channels == 1 else np.ascontiguousarray(sound.reshape(-1, channels).T)


def decode_flac(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Returns a 16-bit FLAC file of one or two channels as a waveform in [-1, 1], and its sample rate.

    All frames go to the decoder as one packet: no demuxer, no parser that looks for frame borders, half the time.

    Raises:
        ValueError: The bytes are no such file.
        av.error.FFmpegError: A frame is damaged.
    """
    info, frames = _split_flac(data)
    rate = int.from_bytes(info[_RATE_AT : _RATE_AT + 3], "big") >> 4
    total = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    decoder: Any = av.CodecContext.create("flac", "r")
    decoder.thread_count = 1
    decoder.extradata = info
    decoded = decoder.decode(av.Packet(frames)) + decoder.decode(None)
    channels = decoded[0].layout.nb_channels if decoded else 0
    if channels not in (1, 2) or any(f.format.name != "s16" or f.layout.nb_channels != channels for f in decoded):
        raise ValueError("not a 16-bit FLAC file of one or two channels")
    values = np.concatenate([np.frombuffer(f.planes[0], "<i2", f.samples * channels) for f in decoded])
    if total and len(values) != total * channels:
        raise ValueError(f"{len(values) // channels} of {total} samples decode")
    return _split(values, channels), rate


def _split_flac(data: bytes) -> tuple[bytes, bytes]:
    """Returns the STREAMINFO block and everything behind the metadata."""
    if data[:4] != b"fLaC":
        raise ValueError("not a FLAC file")
    position, info = 4, b""
    while position + 4 <= len(data):
        head, size = data[position], int.from_bytes(data[position + 1 : position + 4], "big")
        if head & 0x7F == 0:
            info = data[position + 4 : position + 4 + size]
        position += 4 + size
        if head & 0x80:
            break
    if len(info) != _STREAMINFO or position >= len(data):
        raise ValueError("a FLAC file without sound")
    return info, data[position:]


def resample(waveform: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Returns a mono waveform (samples,) at another sample rate; unchanged where the rates are equal.

    libswresample through PyAV, which also resamples when videos are prepared. The reference never resamples: it
    computes the filter bank at the file's own rate (docs/protocol/cavmae.md 2.3).

    Args:
        waveform: (samples,), mono.
        rate: Samples a second.
        target: Samples a second of what is returned.
    """
    if rate == target:
        return waveform
    resampler = av.AudioResampler(format="flt", layout="mono", rate=target)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform)[None, :], format="flt", layout="mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    parts: list[NDArray[np.float32]] = [part.to_ndarray()[0] for part in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)

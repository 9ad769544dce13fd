"""From decoded audio frames to one waveform on the clip's clock, mono unless two channels are wanted, as FLAC."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

Channels = Literal["mix", "first", "stereo"]
# A jump of the timestamps larger than this starts a new piece; smaller ones are rounding (Matroska: 1 ms, FLV: 1 ms).
_JUMP_S = 0.05
# Frames by which the timestamps are judged, and the usual share of a frame's length to the next below which they are
# not believed.
_JUDGED, _DENSE = 32, 0.5
# Errors of PyAV's resampler for a layout that libswresample cannot mix.
_NO_MIX = (FFmpegError, ValueError)
# Large blocks and fixed predictors: training reads a clip many times, and such files decode half as fast again for a
# few per cent more bytes.
_FLAC = {"flags": "+bitexact", "frame_size": "4096", "lpc_type": "fixed"}


@dataclass
class Sound:
    """A waveform and where it comes from.

    Attributes:
        samples: int16 (n,), or (n, 2), beginning at the clip's start.
        late: Seconds from the clip's start to the first sample of the source (before it: zeros).
        gaps: Seconds without source samples in between.
    """

    samples: NDArray[np.int16]
    late: float
    gaps: float


class _Piece:
    """Consecutive frames of one format, resampled together."""

    def __init__(self, frame: av.AudioFrame, start: float, rate: int, channels: Channels) -> None:
        self.format = _format(frame)
        self.start = start
        self.end = start
        self._rate = rate
        self._first = channels == "first"
        self._stereo = channels == "stereo"
        self._split = self._stereo and frame.layout.nb_channels > 1
        self._by_hand = False
        self._parts: list[NDArray[np.int16]] = []
        self._resampler = self._new_resampler()

    def _new_resampler(self) -> av.AudioResampler:
        if self._first and not self._by_hand:
            return av.AudioResampler(format="s16p", rate=self._rate)
        if self._split and not self._by_hand:
            return av.AudioResampler(format="s16p", layout="stereo", rate=self._rate)
        return av.AudioResampler(format="s16", layout="mono", rate=self._rate)

    def add(self, frame: av.AudioFrame) -> None:
        self.end += frame.samples / frame.sample_rate
        frame.pts = None
        try:
            frames = self._resampler.resample(_mixed(frame) if self._by_hand else frame)
        except _NO_MIX:
            if self._by_hand or self._parts:
                raise
            # A layout without known positions ("3 channels"): average by hand.
            self._by_hand = True
            self._resampler = self._new_resampler()
            frames = self._resampler.resample(_mixed(frame))
        self._keep(frames)

    def _keep(self, frames: Iterable[Any]) -> None:
        # Mono, packed or planar: row 0 is the first (or only) channel. A resampler with nothing to do echoes None.
        arrays = [frame.to_ndarray() for frame in frames if frame is not None]
        if self._stereo:  # one channel is heard on both sides
            self._parts += [array.T if len(array) == 2 else np.repeat(array.T, 2, axis=1) for array in arrays]
        else:
            self._parts += [array[0] for array in arrays]

    def samples(self) -> NDArray[np.int16]:
        self._keep(self._resampler.resample(None))
        return np.concatenate(self._parts) if self._parts else np.zeros((0, 2) if self._stereo else 0, np.int16)


def _format(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _mixed(frame: av.AudioFrame) -> av.AudioFrame:
    values: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype == np.uint8:  # the one unsigned format: silence is 128
        values = values.astype(np.int16) - 128
        scale = 128.0
    else:
        scale = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    mono = (values.mean(axis=0, keepdims=True) / scale).astype(np.float32)
    mixed = av.AudioFrame.from_ndarray(mono, format="flt", layout="mono")
    mixed.sample_rate = frame.sample_rate
    return mixed


def assemble(
    frames: Iterable[av.AudioFrame],
    tick: float,
    start: float,
    length: float,
    rate: int,
    channels: Channels,
    clock: Literal["shared", "own"] = "shared",
) -> Sound | None:
    """Puts decoded audio on a clip's clock.

    Args:
        frames: Decoded frames in order; frames without a timestamp follow the one before.
        tick: Seconds per unit of the frames' timestamps.
        start: The clip's start on the frames' clock, seconds.
        length: Longest duration wanted, seconds.
        rate: Samples per second wanted.
        channels: ``mix`` averages the channels as ffmpeg does (5.1 and 7.1 too); ``first`` keeps the first;
            ``stereo`` two, to which further ones are mixed.
        clock: ``own`` takes samples one after the other, whatever their times, as a conversion to WAV does.

    Returns:
        The sound, or None when no frame reaches into the clip.
    """
    pieces: list[_Piece] = []
    for frame in _credible(frames, tick):
        expected = pieces[-1].end if pieces else start
        time = expected if frame.pts is None or clock == "own" else frame.pts * tick
        if time >= start + length:
            break
        if not pieces or pieces[-1].format != _format(frame) or abs(time - expected) > _JUMP_S:
            pieces.append(_Piece(frame, time, rate, channels))
        pieces[-1].add(frame)
    return _placed([(piece.start - start, piece.samples()) for piece in pieces], length, rate)


def _credible(frames: Iterable[av.AudioFrame], tick: float) -> Iterator[av.AudioFrame]:
    """Yields the frames that hold sound; where they would lie on each other, all but the first lose their times.

    Some AVI files state a rate of their sound that is many times too high. Single overlaps are kept: they are cuts.
    """
    stream = (frame for frame in frames if frame.samples and frame.sample_rate)
    first = list(itertools.islice(stream, _JUDGED))
    shares = sorted(
        (b.pts - a.pts) * tick * a.sample_rate / a.samples
        for a, b in itertools.pairwise(first)
        if a.pts is not None and b.pts is not None
    )
    dense = bool(shares) and shares[len(shares) // 2] < _DENSE
    for number, frame in enumerate(itertools.chain(first, stream)):
        if dense and number:
            frame.pts = None
        yield frame


def _placed(pieces: list[tuple[float, NDArray[np.int16]]], length: float, rate: int) -> Sound | None:
    total = round(length * rate)
    samples = np.zeros((total, *(pieces[0][1].shape[1:] if pieces else ())), np.int16)
    covered = np.zeros(total, np.bool_)
    for offset, values in pieces:
        first = round(offset * rate)
        begin, end = max(first, 0), min(first + len(values), total)
        if begin < end:
            samples[begin:end] = values[begin - first : end - first]
            covered[begin:end] = True
    present = np.flatnonzero(covered)
    if not len(present):
        return None
    first, last = int(present[0]), int(present[-1]) + 1
    return Sound(samples[:last], late=first / rate, gaps=(last - first - len(present)) / rate)


def encode_flac(samples: NDArray[np.int16], rate: int) -> bytes:
    """Returns int16 samples, (n,) or (n, 2), as FLAC bytes, without anything that names the encoder's version."""
    layout = "mono" if samples.ndim == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("flac", rate=rate, options=_FLAC)
        stream.codec_context.layout = layout
        stream.codec_context.format = "s16"
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()

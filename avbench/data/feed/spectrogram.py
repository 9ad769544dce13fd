"""The log-mel spectrogram: Kaldi's filter bank as the reference calls it, then padding and normalisation.

Equal to ``torchaudio.compliance.kaldi.fbank(waveform, htk_compat=True, use_energy=False, window_type="hanning",
num_mel_bins=..., dither=0, frame_shift=10)`` (docs/protocol/cavmae.md 2.3), whose filters are rebuilt on every call.
Here window and filters are built once per rate and size, and each group of mel bins only multiplies the part of the
spectrum that it covers: 2.6 times as fast as torchaudio's function.
"""

from __future__ import annotations

import functools
import itertools
import math
import threading

import torch
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.media.waveform import resample
from avbench.errors import InputError

# Kaldi's constants: lowest frequency (Hz), pre-emphasis, and the floor below the logarithm (float32's epsilon).
LOW_FREQUENCY = 20.0
PREEMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps
# Mel bins whose products are summed in one order, and those multiplied together: fewer waste less of a product on
# zeros, more run faster per operation. Halves save a tenth of an item of prepared data.
_GROUP, _HALF = 32, 16
# Longer sums a matrix product cuts: in the middle up to the second length. Halves of a group are cut where the whole
# would be, so that the bits are the same; a group of longer sums is not halved.
_WHOLE_SUM, _HALVED_SUM = 192, 384
# Rows transformed at once: their spectrum stays in a core's second-level cache.
_BLOCK = 512


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def mel_filters(n_mels: int, sample_rate: int, n_fft: int) -> Tensor:
    """Returns Kaldi's triangular filters, float32 (n_mels, n_fft / 2): triangles on the mel axis, no norm.

    The steps and their precision are Kaldi's: low filters are narrower than a bin of the spectrum, so that the
    rounding of a slope's end shows in the logarithm.

    Args:
        n_mels: Mel bins.
        sample_rate: In hertz.
        n_fft: Points of the Fourier transform.
    """
    low, high = _mel(LOW_FREQUENCY), _mel(sample_rate / 2)
    width = (high - low) / (n_mels + 1)
    index = torch.arange(n_mels)[:, None]
    left, centre, right = low + index * width, low + (index + 1.0) * width, low + (index + 2.0) * width
    frequency = (sample_rate / n_fft) * torch.arange(n_fft // 2)
    mel = 1127.0 * (1.0 + frequency / 700.0).log()[None, :]
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return torch.minimum(rising, falling).clamp_min(0.0)


def _used(weights: Tensor) -> tuple[int, int]:
    """Returns the first row of some weights that is not zero, and the one behind the last."""
    used = weights.any(dim=1).nonzero()
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 2)


class FilterBank:
    """From waveform to log-mel rows, for one sample rate and one set of sizes.

    Args:
        sample_rate: Samples per second.
        n_mels: Mel bins.
        frame_length_ms: Window, ms.
        frame_shift_ms: Hop, ms.

    Raises:
        InputError: The window is shorter than two samples, or the hop than one.
    """

    def __init__(self, sample_rate: int, n_mels: int, frame_length_ms: float, frame_shift_ms: float) -> None:
        self.window_size = int(sample_rate * frame_length_ms * 0.001)
        self.shift = int(sample_rate * frame_shift_ms * 0.001)
        if self.window_size < 2 or self.shift < 1:
            raise InputError(
                f"input.frame_length_ms, input.frame_shift_ms: found {frame_length_ms} and {frame_shift_ms}, valid: a"
                f" window of two samples and a hop of one or more at {sample_rate} samples per second."
            )
        self.n_mels = n_mels
        self.n_fft = 1 << (self.window_size - 1).bit_length()
        self.window = torch.hann_window(self.window_size, periodic=False)
        self._buffers = threading.local()
        filters = mel_filters(n_mels, sample_rate, self.n_fft)
        self._products = [part for first in range(0, n_mels, _GROUP) for part in self._group(filters, first)]

    @staticmethod
    def _group(filters: Tensor, first: int) -> list[tuple[slice, list[tuple[slice, Tensor]]]]:
        """Returns, for the bins of a group, which parts of the squares are multiplied by what, and summed."""
        # Real and imaginary part lie side by side, and both squares have the bin's weight.
        weights = filters[first : first + _GROUP].T.repeat_interleave(2, dim=0)  # (n_fft, bins)
        low, high = _used(weights)
        halved = weights.shape[1] == _GROUP and high - low <= _HALVED_SUM
        middle = low + (high - low) // 2
        found = []
        size = _HALF if halved else _GROUP
        for place in range(0, weights.shape[1], size):
            part = weights[:, place : place + size]
            start, end = _used(part)
            cut = [middle] if halved and high - low > _WHOLE_SUM and start < middle < end else []
            spans = [slice(a, b) for a, b in itertools.pairwise([start, *cut, end])]
            bins = slice(first + place, first + place + part.shape[1])
            found.append((bins, [(span, part[span].contiguous()) for span in spans]))
        return found

    def rows(self, n_samples: int) -> int:
        """Returns how many whole windows ``n_samples`` hold (Kaldi's snip_edges)."""
        return max(0, 1 + (n_samples - self.window_size) // self.shift)

    def __call__(self, waveform: Tensor, max_rows: int | None = None) -> Tensor:
        """Returns the log-mel rows of a waveform.

        Args:
            waveform: float32 (samples,), its mean already removed where that is wanted.
            max_rows: Compute no more rows than that.

        Returns:
            float32 (rows, n_mels), natural logarithm; (0, n_mels) for less than one window of sound.
        """
        rows = self.rows(len(waveform))
        if max_rows is not None:
            rows = min(rows, max_rows)
        result = torch.empty(rows, self.n_mels)
        if rows == 0:
            return result
        framed = waveform.contiguous().as_strided((rows, self.window_size), (self.shift, 1))
        padded, previous = self._scratch()
        for first in range(0, rows, _BLOCK):
            block = framed[first : first + _BLOCK]  # (rows, window)
            count = len(block)
            self._prepare(block, padded[:count, : self.window_size], previous[:count])
            spectrum = torch.fft.rfft(padded[:count])  # which copies what it is given as ``out``
            squares = torch.view_as_real(spectrum).view(count, -1)  # (rows, n_fft + 2)
            squares.mul_(squares)
            for bins, ((span, weights), *others) in self._products:
                sums = result[first : first + count, bins]
                torch.mm(squares[:, span], weights, out=sums)
                for span, weights in others:
                    sums.addmm_(squares[:, span], weights)
        return result.clamp_min_(FLOOR).log_()

    def _scratch(self) -> tuple[Tensor, Tensor]:
        """Returns this thread's buffers; touching fresh memory on each call would take a fifth of its time."""
        found: tuple[Tensor, Tensor] | None = getattr(self._buffers, "value", None)
        if found is None:
            # Made in inference mode, tensors could not be written to outside of it.
            with torch.inference_mode(False):
                found = torch.zeros(_BLOCK, self.n_fft), torch.empty(_BLOCK, self.window_size)
            self._buffers.value = found
        return found

    def _prepare(self, block: Tensor, out: Tensor, previous: Tensor) -> None:
        """Writes windows (rows, window) without their mean, pre-emphasised and tapered, into ``out``."""
        torch.sub(block, block.mean(dim=1, keepdim=True), out=out)
        torch.mul(out, PREEMPHASIS, out=previous)
        out[:, 1:].sub_(previous[:, :-1])
        out[:, :1].sub_(previous[:, :1])  # before a window's first sample stands that sample itself
        out.mul_(self.window)


@functools.cache
def filter_bank(sample_rate: int, n_mels: int, frame_length_ms: float, frame_shift_ms: float) -> FilterBank:
    """Returns the filter bank for these sizes, built on the first call.

    Args:
        sample_rate: In hertz.
        n_mels: Mel bins.
        frame_length_ms: Length of a window.
        frame_shift_ms: From one window to the next.
    """
    return FilterBank(sample_rate, n_mels, frame_length_ms, frame_shift_ms)


def log_mel(waveform: Tensor, sample_rate: int, config: InputConfig, *, max_rows: int | None = None) -> Tensor:
    """Returns a clip's log-mel rows, neither padded nor normalised.

    Args:
        waveform: float32 (samples,), mono. Its mean is removed, after resampling to ``config.sample_rate``.
        sample_rate: Samples per second of ``waveform``.
        config: Sizes.
        max_rows: Compute no more rows than that.

    Returns:
        float32 (rows, config.n_mels).
    """
    if sample_rate != config.sample_rate:
        waveform = torch.from_numpy(resample(waveform.numpy(), sample_rate, config.sample_rate))
    bank = filter_bank(config.sample_rate, config.n_mels, config.frame_length_ms, config.frame_shift_ms)
    return bank(waveform - waveform.mean(), max_rows)


def fit_rows(rows: Tensor, config: InputConfig, out: Tensor | None = None) -> Tensor:
    """Returns log-mel rows padded or cut to ``config.target_length`` and normalised.

    Padding is raw zeros before normalisation, as in the reference: such rows become -mean/std.

    Args:
        rows: float32 (rows, n_mels).
        config: Length, mean and standard deviation.
        out: Where to write, float32 (target_length, n_mels); None: a new tensor.
    """
    length = config.target_length
    out = torch.empty(length, config.n_mels) if out is None else out
    kept = rows[:length]
    torch.sub(kept, config.audio_mean, out=out[: len(kept)]).div_(config.audio_std)
    out[len(kept) :] = -config.audio_mean / config.audio_std
    return out


def window_starts(n_frames: int, rows: int, length: int) -> list[int]:
    """Returns where the audio window of each frame begins (docs/protocol/cavmae_sync.md 2).

    Frame ``i`` is centred on row ``i * rows / n_frames``, rounded half to even; windows are moved inside the rows.

    Args:
        n_frames: Frames of the clip.
        rows: Rows of the padded spectrogram.
        length: Rows of a window; 0 < length <= rows.
    """
    centres = [round(i * rows / n_frames) for i in range(n_frames)]
    return [min(max(0, centre - length // 2), rows - length) for centre in centres]

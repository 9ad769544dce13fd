"""The filter bank against torchaudio's, which rebuilds its window and filters on every call."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avbench.bench.timing import Timing, compare, one_thread
from avbench.config import InputConfig
from avbench.data.feed.spectrogram import filter_bank

TARGET = 2.0


def kaldi(waveform: Tensor, config: InputConfig) -> Tensor:
    """Returns torchaudio's log-mel rows (rows, n_mels) of a waveform (samples,), as the reference calls it."""
    from torchaudio.compliance.kaldi import fbank

    rows: Tensor = fbank(
        waveform[None],
        htk_compat=True,
        sample_frequency=config.sample_rate,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=config.n_mels,
        dither=0.0,
        frame_length=config.frame_length_ms,
        frame_shift=config.frame_shift_ms,
    )
    return rows


def benchmark(seconds: float = 10.0, repeats: int = 40) -> list[Timing]:
    """Times the log-mel rows of one waveform on one thread."""
    config = InputConfig()
    samples = np.random.default_rng(0).standard_normal(round(seconds * config.sample_rate), dtype=np.float32)
    waveform = torch.from_numpy(samples * np.float32(0.1))
    bank = filter_bank(config.sample_rate, config.n_mels, config.frame_length_ms, config.frame_shift_ms)
    with one_thread():
        return [
            compare(
                f"filter bank of {seconds:g} s",
                lambda: bank(waveform),
                lambda: kaldi(waveform, config),
                target=TARGET,
                repeats=repeats,
            )
        ]

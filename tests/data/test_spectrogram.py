from __future__ import annotations

import numpy as np
import pytest
import torch
from torchaudio.compliance import kaldi

from avbench.config import InputConfig
from avbench.data.feed.spectrogram import filter_bank, fit_rows, log_mel, window_starts
from avbench.errors import InputError


def reference(waveform: torch.Tensor, rate: int, n_mels: int) -> torch.Tensor:
    return kaldi.fbank(
        waveform[None],
        htk_compat=True,
        sample_frequency=rate,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=n_mels,
        dither=0.0,
        frame_shift=10,
    )


def signals() -> dict[str, torch.Tensor]:
    time = torch.arange(20000) / 16000
    generator = torch.Generator().manual_seed(0)
    return {
        "noise": 0.1 * torch.randn(20000, generator=generator),
        "pure tone": torch.sin(2 * torch.pi * 440 * time),
        "chirp": torch.sin(2 * torch.pi * (100 * time + 2000 * time**2)),
        "silence": torch.zeros(20000),
        "clicks": torch.zeros(20000).index_fill_(0, torch.arange(0, 20000, 1999), 0.9),
        "offset": torch.full((20000,), 0.5),
    }


@pytest.mark.parametrize("name", signals())
@pytest.mark.parametrize(("rate", "n_mels"), [(16000, 128), (8000, 64), (44100, 80), (22050, 23)])
def test_equals_torchaudio(name: str, rate: int, n_mels: int) -> None:
    waveform = signals()[name]
    waveform = waveform - waveform.mean()
    ours = filter_bank(rate, n_mels, 25.0, 10.0)(waveform)
    expected = reference(waveform, rate, n_mels)
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_recorded_numbers() -> None:
    # docs/protocol/cavmae.md 9, torchaudio 2.11.
    n = np.arange(160000)
    draws = 43758.5453 * np.sin(12.9898 * n + sum(map(ord, "noise")))
    wave = 0.5 * np.sin(2 * np.pi * 440 * n / 16000) + 0.25 * np.sin(2 * np.pi * 1000 * n / 16000)
    waveform = torch.from_numpy((wave + 0.2 * (draws - np.floor(draws) - 0.5)).astype(np.float32))
    config = InputConfig()
    rows = log_mel(waveform, 16000, config)
    assert rows.shape == (998, 128)
    assert rows.mean() == pytest.approx(-1.275117, abs=1e-4)
    assert rows.std() == pytest.approx(3.539605, abs=1e-4)
    torch.testing.assert_close(
        rows[0, :4], torch.tensor([-8.289981, -11.332576, -7.889174, -15.942385]), atol=1e-4, rtol=0
    )
    expected = [
        -0.106401,
        3.121235,
        3.441450,
        3.926321,
        3.546369,
        1.434110,
        -0.0000127,
        -2.561990,
        -2.396123,
        -3.264735,
    ]
    torch.testing.assert_close(rows[500, 20:30], torch.tensor(expected), atol=1e-4, rtol=0)
    assert rows[500].argmax() == 43
    padded = fit_rows(rows, config)
    assert padded.mean() == pytest.approx(0.855818, abs=1e-4)
    assert padded.std() == pytest.approx(0.780426, abs=1e-4)
    assert padded[-1, 0] == pytest.approx(1.132913, abs=1e-5)
    assert padded[500, 25] == pytest.approx(1.452677, abs=1e-4)


def test_cutting_early_changes_nothing() -> None:
    waveform = signals()["noise"]
    bank = filter_bank(16000, 128, 25.0, 10.0)
    torch.testing.assert_close(bank(waveform, 50), bank(waveform)[:50])


def test_long_sound_is_cut_and_short_padded() -> None:
    config = InputConfig(target_length=100, n_mels=16)
    rows = log_mel(signals()["noise"], 16000, config)
    assert len(rows) == 123
    torch.testing.assert_close(fit_rows(rows, config), (rows[:100] + 5.081) / 4.4849)
    assert fit_rows(rows[:40], config)[40:].unique().tolist() == pytest.approx([5.081 / 4.4849])


def test_less_than_a_window_gives_no_rows() -> None:
    assert filter_bank(16000, 128, 25.0, 10.0)(torch.zeros(399)).shape == (0, 128)


def test_another_rate_is_resampled() -> None:
    time = torch.arange(44100, dtype=torch.float64) / 44100
    config = InputConfig(n_mels=64)
    there = log_mel(torch.sin(2 * torch.pi * 1000 * time).float(), 44100, config)
    time = torch.arange(16000, dtype=torch.float64) / 16000
    here = log_mel(torch.sin(2 * torch.pi * 1000 * time).float(), 16000, config)
    assert there.shape == here.shape
    peak = here.mean(0).argmax()
    assert there.mean(0).argmax() == peak
    assert there[5:-5, peak].sub(here[5:-5, peak]).abs().max() < 0.01


def test_window_too_short() -> None:
    with pytest.raises(InputError, match="frame_length_ms"):
        filter_bank(1000, 8, 1.0, 1.0)


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        # docs/protocol/cavmae_sync.md 2
        (96, [0, 16, 80, 144, 208, 272, 336, 400, 464, 528, 592, 656, 720, 784, 848, 912]),
        (192, [0, 0, 32, 96, 160, 224, 288, 352, 416, 480, 544, 608, 672, 736, 800, 832]),
        (304, [0, 0, 0, 40, 104, 168, 232, 296, 360, 424, 488, 552, 616, 680, 720, 720]),
        (416, [0, 0, 0, 0, 48, 112, 176, 240, 304, 368, 432, 496, 560, 608, 608, 608]),
        (512, [0, 0, 0, 0, 0, 64, 128, 192, 256, 320, 384, 448, 512, 512, 512, 512]),
        (624, [0, 0, 0, 0, 0, 8, 72, 136, 200, 264, 328, 392, 400, 400, 400, 400]),
        (720, [0, 0, 0, 0, 0, 0, 24, 88, 152, 216, 280, 304, 304, 304, 304, 304]),
        (1024, [0] * 16),
    ],
)
def test_window_starts(length: int, starts: list[int]) -> None:
    assert window_starts(16, 1024, length) == starts


def test_centres_are_rounded_half_to_even() -> None:
    # 1 * 5 / 2 = 2.5 -> 2 and 3 * 7 / 2 = 10.5 -> 10.
    assert window_starts(2, 5, 1) == [0, 2]
    assert window_starts(4, 14, 2) == [0, 3, 6, 9]

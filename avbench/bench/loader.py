"""Loader items on prepared data against wav and JPEG files read the plain way, as the reference reads them."""

from __future__ import annotations

import io
import json
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from avbench.bench.fbank import kaldi
from avbench.bench.timing import Timing, compare, one_thread
from avbench.config import InputConfig
from avbench.data.corpus.clips import MANIFEST
from avbench.data.corpus.manifest_file import schema
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.corpus.shards import ShardWriter
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.spectrogram import window_starts
from avbench.data.media.waveform import encode_wav

ITEM_TARGET, SYNC_TARGET = 2.0, 10.0
_SYNC = InputConfig(segment_length=416)
_SECONDS, _FRAMES, _QUALITY = 10.0, 16, 90
CLIPS = 8  # that are written
_SHARD = "shards/000000.tar"


def _sound(rng: np.random.Generator, rate: int) -> NDArray[np.int16]:
    """Tones over coloured noise."""
    time = np.arange(round(_SECONDS * rate)) / rate
    noise = np.convolve(rng.standard_normal(len(time)), np.exp(-np.arange(64) / 8), "same")
    tones = sum(np.sin(2 * np.pi * pitch * time) for pitch in rng.uniform(100, 2000, 3))
    samples: NDArray[np.int16] = np.round(1500 * tones + 400 * noise).clip(-32768, 32767).astype(np.int16)
    return samples


def _picture(rng: np.random.Generator, size: int) -> bytes:
    """Smooth colours with grain: a JPEG of about the size of a real frame's."""
    coarse = Image.fromarray(rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).astype(np.float64)
    buffer = io.BytesIO()
    noisy = (pixels + 4 * rng.standard_normal(pixels.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def write_clips(folder: Path, config: InputConfig) -> None:
    """Writes the same clips twice: as a prepared folder, and as ID.wav with frame_i/ID.jpg."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    (folder / "shards").mkdir()
    rows: list[dict[str, Any]] = []
    with (folder / _SHARD).open("wb") as handle:
        shard = ShardWriter(handle)
        for i in range(CLIPS):
            samples = _sound(rng, config.sample_rate)
            pictures = [_picture(rng, config.image_size) for _ in range(_FRAMES)]
            frames = [shard.add(f"{i}.{k}.jpg", data) for k, data in enumerate(pictures)]
            audio = shard.add(f"{i}.wav", encode_wav(samples, config.sample_rate))
            rows.append(_row(i, frames, audio, len(samples), config))
            with wave.open(str(folder / f"{i}.wav"), "wb") as writer:
                writer.setparams((1, 2, config.sample_rate, len(samples), "NONE", ""))
                writer.writeframes(samples.tobytes())
            for k, data in enumerate(pictures):
                (folder / f"frame_{k}").mkdir(exist_ok=True)
                (folder / f"frame_{k}" / f"{i}.jpg").write_bytes(data)
        shard.close()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), folder / MANIFEST)
    (folder / "prepare.json").write_text(json.dumps({"schema": 1}))


def _row(
    i: int, frames: list[tuple[int, int]], audio: tuple[int, int], n_samples: int, config: InputConfig
) -> dict[str, Any]:
    return {
        "id": str(i),
        "labels": [],
        "split": "",
        "source": "",
        "start": 0.0,
        "duration": _SECONDS,
        "n_frames": len(frames),
        "frame_times": [],
        "n_samples": n_samples,
        "sample_rate": config.sample_rate,
        "shard": _SHARD,
        "frame_offsets": [offset for offset, _ in frames],
        "frame_sizes": [size for _, size in frames],
        "audio_offset": audio[0],
        "audio_size": audio[1],
        "sha256": "",
        "silent": False,
        "notes": "",
    }


class _Plain:
    """The reference's steps with its libraries: whole wav, Kaldi fbank, PIL and torchvision, nothing kept."""

    def __init__(self, folder: Path, config: InputConfig) -> None:
        from torchvision import transforms as t

        self._folder = folder
        self._config = config
        bicubic = t.InterpolationMode.BICUBIC
        size = config.image_size
        normalize = t.Normalize(config.image_mean, config.image_std)
        self._transform = t.Compose([t.Resize(size, bicubic), t.CenterCrop(size), t.ToTensor(), normalize])

    def sound(self, i: int) -> Tensor:
        with wave.open(str(self._folder / f"{i}.wav"), "rb") as reader:
            samples = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
        waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
        rows = kaldi(waveform - waveform.mean(), self._config)[: self._config.target_length]
        rows = torch.nn.functional.pad(rows, (0, 0, 0, self._config.target_length - len(rows)))
        return (rows - self._config.audio_mean) / self._config.audio_std

    def image(self, i: int, k: int) -> Tensor:
        with Image.open(self._folder / f"frame_{k}" / f"{i}.jpg") as image:
            result: Tensor = self._transform(image)
        return result

    def item(self, i: int) -> tuple[Tensor, Tensor]:
        return self.sound(i), self.image(i, _FRAMES // 2)

    def windows(self, i: int) -> tuple[Tensor, Tensor]:
        """All frames, with the sound read and transformed anew for each, as the reference does."""
        length = self._config.segment_length
        starts = window_starts(_FRAMES, self._config.target_length, length)
        sounds = [self.sound(i)[start : start + length] for start in starts]
        return torch.stack(sounds), torch.stack([self.image(i, k) for k in range(_FRAMES)])


def benchmark(repeats: int = 30) -> list[Timing]:
    """Times one item, and one Sync clip of 16 frames and windows, on one thread; the clips stay in the page cache."""
    with tempfile.TemporaryDirectory() as name, one_thread():
        folder = Path(name)
        write_clips(folder, _SYNC)
        clips = PreparedClips.open(folder)
        whole = InputConfig()
        single = AudioVisualDataset(clips, whole, mode="eval")
        frames = AudioVisualDataset(clips, _SYNC, mode="all_frames")
        plain, plain_sync = _Plain(folder, whole), _Plain(folder, _SYNC)
        # Another clip each time, the same one for both ways: calls come in pairs.
        turns = iter(range(2 * repeats + 2))
        turns_sync = iter(range(2 * repeats + 2))
        return [
            compare(
                "one item, prepared against wav + JPEG",
                lambda: single[next(turns) // 2 % CLIPS],
                lambda: plain.item(next(turns) // 2 % CLIPS),
                target=ITEM_TARGET,
                repeats=repeats,
            ),
            compare(
                f"one clip of {_FRAMES} windows, sound read once against {_FRAMES} times",
                lambda: frames[next(turns_sync) // 2 % CLIPS],
                lambda: plain_sync.windows(next(turns_sync) // 2 % CLIPS),
                target=SYNC_TARGET,
                repeats=max(5, repeats // 3),
            ),
        ]

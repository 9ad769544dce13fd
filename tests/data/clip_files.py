"""Small prepared folders and authors' layouts for tests, written from the format's description alone."""

from __future__ import annotations

import io
import json
import tarfile
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

RATE = 16000


def sound(seed: int, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """int16 (n,): a tone and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (200 + 50 * seed) * time)
    return np.round(8000 * tone + 800 * rng.standard_normal(len(time))).astype(np.int16)


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """uint8 (H, W, 3): smooth colours."""
    rng = np.random.default_rng(1000 + seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def flac(samples: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream: Any = container.add_stream("flac", rate=rate)
        stream.codec_context.layout = "mono"
        stream.codec_context.format = "s16"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """samples: int16 (n,) or (n, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())


def prepared(root: Path, n: int = 6, n_frames: int = 3, size: tuple[int, int] = (64, 64), seconds: float = 1.0) -> Path:
    """Writes a prepared folder of ``n`` clips; clip 1 has one frame less than the others."""
    (root / "shards").mkdir(parents=True)
    rows = []
    shard = "shards/000000.tar"
    with tarfile.open(root / shard, "w", format=tarfile.PAX_FORMAT) as tar:
        for i in range(n):
            count = n_frames - (i == 1 and n_frames > 1)
            frames = [jpeg(picture(10 * i + k, size)) for k in range(count)]
            members = [
                *((f"clip{i}.{k}.jpg", data) for k, data in enumerate(frames)),
                (f"clip{i}.flac", flac(sound(i, seconds))),
            ]
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            rows.append(_row(i, count, members, shard, seconds))
    with tarfile.open(root / shard) as tar:
        places = {member.name: member for member in tar.getmembers()}
    for i, row in enumerate(rows):
        frames_of = [places[f"clip{i}.{k}.jpg"] for k in range(row["n_frames"])]
        row["frame_offsets"] = [member.offset_data for member in frames_of]
        row["frame_sizes"] = [member.size for member in frames_of]
        row["audio_offset"] = places[f"clip{i}.flac"].offset_data
        row["audio_size"] = places[f"clip{i}.flac"].size
    pq.write_table(pa.Table.from_pylist(rows), root / "manifest.parquet")
    (root / "prepare.json").write_text(json.dumps({"schema": 1, "settings": {}, "sha256": "0" * 64}))
    return root


def _row(i: int, count: int, members: list[tuple[str, bytes]], shard: str, seconds: float) -> dict[str, Any]:
    import hashlib

    return {
        "id": f"clip{i}",
        "labels": ["dog"] if i % 2 else ["cat", "rain"],
        "split": "test" if i % 3 == 0 else "train",
        "source": f"clip{i}.mp4",
        "start": 0.0,
        "duration": seconds,
        "n_frames": count,
        "frame_times": [k * seconds / count for k in range(count)],
        "n_samples": round(seconds * RATE),
        "sample_rate": RATE,
        "shard": shard,
        "sha256": hashlib.sha256(b"".join(data for _, data in members)).hexdigest(),
        "silent": False,
        "notes": "",
    }


def authors(root: Path, n: int = 3, n_frames: int = 3, labels: bool = True) -> Path:
    """Writes the authors' layout and returns the manifest; clip 1 lacks its last frame."""
    entries = []
    for i in range(n):
        write_wav(root / "audio" / f"clip{i}.wav", sound(i))
        for k in range(n_frames):
            if not (i == 1 and k == n_frames - 1):
                folder = root / "frames" / f"frame_{k}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"clip{i}.jpg").write_bytes(jpeg(picture(10 * i + k)))
        entries.append(
            {
                "video_id": f"clip{i}",
                "wav": str(root / "audio" / f"clip{i}.wav"),
                "video_path": str(root / "frames"),
                "labels": "/m/a,/m/b" if i else "/m/c",
            }
        )
    manifest = root / "manifest.json"
    manifest.write_text(json.dumps({"data": entries}))
    if labels:
        (root / "labels.csv").write_text('index,mid,display_name\n0,/m/c,"Cat, meow"\n1,/m/a,"Dog"\n2,/m/b,"Rain"\n')
    return manifest

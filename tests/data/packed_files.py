"""Shards and tables of small clips, for the tests of sources."""

from __future__ import annotations

import io
import tarfile
import wave
from collections.abc import Mapping
from pathlib import Path

from video_files import tone, write_video

from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.prepare.driver import PrepareReport, prepare


def video(folder: Path, *, sound: bool = True, level: int = 120) -> bytes:
    """Two seconds of grey."""
    heard = tone(2, 440) if sound else None
    return write_video(folder / f"made{level}{sound}.mp4", levels=[level] * 50, sound=heard).read_bytes()


def wav(hertz: float = 880, rate: int = 16000) -> bytes:
    """Two seconds of a tone."""
    out = io.BytesIO()
    with wave.open(out, "wb") as handle:
        handle.setnchannels(1)
        handle.setsampwidth(2)
        handle.setframerate(rate)
        handle.writeframes((tone(2, hertz, rate)[0] * 32767).astype("<i2").tobytes())
    return out.getvalue()


def shard(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """Writes a tar of files by name, and of other members as they are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def prepared(source: Path, out: Path) -> tuple[PrepareReport, dict[str, tuple[list[str], str]]]:
    """Prepares a source; returns the report, and labels and split of each clip by id."""
    import pyarrow.parquet as pq

    report = prepare(source, out, PrepareSettings(n_frames=2), workers=1, progress=False)
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    return report, {row["id"]: (row["labels"], row["split"]) for row in rows}

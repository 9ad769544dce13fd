from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_files import click, tone, write_video

from avbench.data.media.decode import decode, decode_windows
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.media.track import Programme, Track


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv", ".mov"])
@pytest.mark.parametrize("window", [0.0, 2.5])
def test_joined_programmes_give_the_first_alone(tmp_path: Path, suffix: str, window: float) -> None:
    first = write_video(tmp_path / f"a{suffix}", levels=range(10, 90), fps=20, sound=0 * click(4, 0), gop=10)
    second = write_video(tmp_path / f"b{suffix}", levels=[240] * 200, fps=20, sound=tone(10, 440), gop=10)
    joined = tmp_path / f"ab{suffix}"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    clips = list(decode_windows(joined, PrepareSettings(n_frames=4, size=16, window=window)))
    assert len(clips) == (2 if window else 1)
    for clip in clips:
        assert not isinstance(clip, tuple)
        assert clip.silent
        assert max(float(np.asarray(frame).mean()) for frame in clip.frames) < 100
    assert clips[0].duration == pytest.approx(window or 4.0, abs=0.05)  # type: ignore[union-attr]
    if suffix in (".ts", ".mkv"):  # the others end by their own headers
        assert "the file begins anew after 4.0 s, the rest is left out" in clips[-1].notes  # type: ignore[union-attr]


class _Packet:
    size, stream_index = 1, 0

    def __init__(self, dts: int) -> None:
        self.dts = dts


@pytest.mark.parametrize(
    ("stamps", "kept", "ended"),
    [
        ([0, 1, 2, 3, 4, 5, 0, 1, 2], [0, 1, 2, 3, 4, 5], True),
        ([10, 11, 12, 5, 13, 14], [10, 11, 12, 5, 13, 14], False),  # one broken timestamp
        ([0, 1, 90, 2, 3, 4], [0, 1, 90, 2, 3, 4], False),
    ],
)
def test_a_programme_ends_where_times_go_back_for_good(stamps: list[int], kept: list[int], ended: bool) -> None:
    programme = Programme([_Packet(stamp) for stamp in stamps], {0: Track(None, 1.0)}, 0.0)
    assert [packet.dts for _, packet in programme] == kept
    assert programme.ended == ended


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("start", [0.0, 5.0])
def test_frames_of_an_avi_are_dated_in_the_order_they_are_shown(tmp_path: Path, codec: str, start: float) -> None:
    path = tmp_path / "b.avi"
    levels = [10 + 8 * (i % 30) for i in range(240)]
    sound = tone(12, 440)
    write_video(path, levels=levels, fps=20, sound=sound, codec=codec, audio_codec="libmp3lame", b_frames=4, gop=60)
    clip = decode(path, PrepareSettings(n_frames=5, size=16, window=5.0), start=start)
    for time, frame in zip(clip.frame_times, clip.frames, strict=True):
        shown = 10 + 8 * (round(20 * (start + time)) % 30)
        assert float(np.asarray(frame).mean()) == pytest.approx(shown, abs=3.9)
    np.testing.assert_allclose(clip.frame_times, np.arange(5), atol=0.051)

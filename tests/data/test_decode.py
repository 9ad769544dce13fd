from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from video_files import AUDIO_RATE, click, set_rotation, tone, write_video

from avbench.data.media.decode import DecodedSpan, decode, decode_windows
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.media.verdict import Rejected

SMALL = PrepareSettings(size=16)


def levels_of(clip: DecodedSpan) -> list[int]:
    return [round(float(np.asarray(frame).mean())) for frame in clip.frames]


def loudest(clip: DecodedSpan) -> float:
    """When the click is heard, seconds from the clip's start."""
    loud = np.flatnonzero(np.abs(clip.waveform) > 0.5 * np.abs(clip.waveform).max())
    return float(loud[0]) / clip.sample_rate


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s at 20 fps; frame i is grey 10 + i and shown from i/20 s; with B-frames, and a click at 1.234 s."""
    path = tmp_path_factory.mktemp("media") / "counting.mp4"
    return write_video(path, levels=range(10, 250), fps=20, sound=click(12, 1.234))


@pytest.mark.parametrize(
    ("sampling", "times"),
    [
        ("even", [0, 2.5, 5, 7.5]),
        ("centre", [1.25, 3.75, 6.25, 8.75]),
        ("ends", [0, 10 / 3, 20 / 3, 9.95]),
    ],
)
def test_frames_are_the_ones_on_display_at_the_asked_times(counting: Path, sampling: str, times: list[float]) -> None:
    clip = decode(counting, PrepareSettings(n_frames=4, sampling=sampling, size=16))
    shown = [int(time * 20 + 1e-6) for time in times]
    np.testing.assert_allclose(levels_of(clip), [10 + index for index in shown], atol=1)
    np.testing.assert_allclose(clip.frame_times, [index / 20 for index in shown], atol=1e-3)
    assert clip.duration == pytest.approx(10.0)
    assert len(clip.samples) == 160000
    assert not clip.notes


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_sound_and_picture_stay_aligned_in_every_container(tmp_path: Path, suffix: str) -> None:
    levels = [20] * 40 + [220] * 40  # bright from 2.0 s on, with a click
    audio_codec = "libmp3lame" if suffix == ".avi" else "aac"
    path = write_video(tmp_path / f"a{suffix}", levels=levels, fps=20, sound=click(4, 2.0), audio_codec=audio_codec)
    clip = decode(path, PrepareSettings(n_frames=80, size=16))
    first_bright = next(t for t, level in zip(clip.frame_times, levels_of(clip), strict=True) if level > 120)
    # AAC and MP3 smear a click by a few milliseconds; AVI cannot say how many samples its encoder put in front.
    tolerance = 0.06 if suffix == ".avi" else 0.004
    assert loudest(clip) == pytest.approx(2.0, abs=tolerance)
    assert first_bright == pytest.approx(2.0, abs=0.002 if suffix != ".avi" else 0.11)


def test_sound_that_starts_later_is_padded_in_front_and_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mp4", levels=[50] * 100, fps=25, sound=click(3, 0.5), sound_at=0.7)
    clip = decode(path, SMALL)
    assert loudest(clip) == pytest.approx(1.2, abs=0.005)
    assert "audio starts 0.7 s late" in clip.notes


def test_first_timestamps_are_subtracted(tmp_path: Path) -> None:
    times = [10 + i / 20 for i in range(60)]
    path = write_video(
        tmp_path / "offset.mkv", levels=range(10, 70), times=times, sound=click(3, 1.0), sound_at=10.0, fps=20
    )
    clip = decode(path, PrepareSettings(n_frames=3, size=16))
    np.testing.assert_allclose(clip.frame_times, [0, 1, 2], atol=0.01)
    np.testing.assert_allclose(levels_of(clip), [10, 30, 50], atol=1)
    assert loudest(clip) == pytest.approx(1.0, abs=0.03)


def test_variable_frame_rate_goes_by_timestamps(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 0.3, 2.0, 3.9]
    path = write_video(
        tmp_path / "vfr.mp4", levels=[20, 50, 80, 110, 140, 200], times=times, sound=tone(4, 440), fps=25
    )
    clip = decode(path, PrepareSettings(n_frames=7, size=16))
    expected = [max(t for t in times if t <= i * clip.duration / 7) for i in range(7)]
    np.testing.assert_allclose(clip.frame_times, expected, atol=2e-3)


def corners(clip: DecodedSpan) -> str:
    """Colours of the four corners in reading order, as letters."""
    picture = np.asarray(clip.frames[0]).astype(int)
    names = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    spots = [picture[3, 3], picture[3, -4], picture[-4, 3], picture[-4, -4]]
    return "".join(names[tuple(int(v > 128) for v in spot)] for spot in spots)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), "rgbw"),
        ((0, 1, -1, 0), "brwg"),  # a quarter turn clockwise
        ((-1, 0, 0, -1), "wbgr"),
        ((0, -1, 1, 0), "gwrb"),  # a quarter turn anticlockwise
        ((-1, 0, 0, 1), "grwb"),  # a mirror
    ],
)
def test_rotation_and_mirrors_are_honoured(tmp_path: Path, matrix: tuple[int, ...], expected: str) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32], picture[24:] = (
        (255, 0, 0), (0, 255, 0), (0, 0, 255), picture[24:],
    )  # fmt: skip
    picture[24:, 32:] = 255
    path = write_video(tmp_path / "turned.mp4", pictures=[picture] * 10, sound=tone(0.4, 440))
    set_rotation(path, *matrix)
    clip = decode(path, PrepareSettings(size=48, n_frames=1, crop="none"))
    assert corners(clip) == expected
    assert clip.frames[0].size == ((48, 64) if matrix[0] == 0 else (64, 48))


@pytest.mark.parametrize(
    ("pix_fmt", "size"), [("yuv420p10le", (64, 48)), ("yuv444p", (65, 49)), ("yuvj420p", (64, 48))]
)
def test_pixel_formats_become_8_bit_rgb(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    colour = np.full((size[1], size[0], 3), (200, 40, 90), np.uint8)
    path = write_video(tmp_path / "c.mp4", pictures=[colour] * 10, size=size, pix_fmt=pix_fmt, sound=tone(0.4, 440))
    clip = decode(path, PrepareSettings(size=16))
    np.testing.assert_allclose(np.asarray(clip.frames[3]).mean((0, 1)), (200, 40, 90), atol=5)


def test_long_side_is_cropped_in_the_centre(tmp_path: Path) -> None:
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, 40:80] = 255
    path = write_video(tmp_path / "wide.mp4", pictures=[picture] * 10, size=(120, 40), sound=tone(0.4, 440))
    frame = np.asarray(decode(path, PrepareSettings(size=20)).frames[0])
    assert frame.shape == (20, 20, 3)
    assert frame.mean() > 245


@pytest.mark.parametrize(("channels", "hertz"), [("mix", 500), ("first", 1000)])
def test_channels_are_mixed_or_the_first_is_taken(tmp_path: Path, channels: str, hertz: int) -> None:
    sound = np.concatenate([tone(2, 1000), 3 * tone(2, 500)])
    path = write_video(tmp_path / "stereo.mkv", levels=[50] * 50, sound=sound, layout="stereo", audio_codec="flac")
    clip = decode(path, PrepareSettings(size=16, channels=channels))
    spectrum = np.abs(np.fft.rfft(clip.waveform))
    assert np.argmax(spectrum) * 16000 / len(clip.samples) == pytest.approx(hertz, abs=2)


def test_surround_is_mixed_at_the_same_level(tmp_path: Path) -> None:
    sound = np.concatenate([tone(2, 500)] * 6)
    path = write_video(tmp_path / "s.mkv", levels=[50] * 50, sound=sound, layout="5.1", audio_codec="aac")
    clip = decode(path, SMALL)
    assert np.abs(clip.waveform[8000:24000]).max() == pytest.approx(0.3, abs=0.05)


def test_silence_is_kept_and_flagged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "silent.mp4", levels=[50] * 50, sound=np.zeros((1, 2 * AUDIO_RATE), np.float32))
    assert decode(path, SMALL).silent
    assert not decode(write_video(tmp_path / "loud.mp4", levels=[50] * 50, sound=tone(2, 440)), SMALL).silent


def test_windows_are_cut_by_seeking_and_keep_their_clock(counting: Path) -> None:
    found = list(decode_windows(counting, PrepareSettings(window=3.0, stride=2.5, n_frames=3, size=16)))
    clips = [item for item in found if isinstance(item, DecodedSpan)]
    assert [clip.start for clip in clips] == [0.0, 2.5, 5.0, 7.5, 10.0]
    for clip in clips:
        wanted = [10 + int((clip.start + k) * 20 + 1e-6) for k in range(3)]
        if clip.start < 10:
            np.testing.assert_allclose(levels_of(clip), wanted, atol=1)
            np.testing.assert_allclose(clip.frame_times, [0, 1, 2], atol=1e-3)
    assert loudest(clips[0]) == pytest.approx(1.234, abs=0.005)
    assert clips[-1].duration == pytest.approx(2.0, abs=0.05)
    tail = list(decode_windows(counting, PrepareSettings(window=5.0, n_frames=3, size=16)))[-1]
    assert isinstance(tail, tuple)
    assert str(tail[1]) == "shorter than a window: 2.0 of 5.0 s"


def test_sound_after_a_seek_is_the_sound_of_a_full_decode(tmp_path: Path) -> None:
    rising = tone(10, 440) * np.linspace(0, 1, 10 * AUDIO_RATE, dtype=np.float32)
    path = write_video(tmp_path / "a.mp4", levels=[50] * 200, fps=20, sound=rising)
    full = decode(path, SMALL)
    part = decode(path, PrepareSettings(size=16, window=3.0), start=6.0)
    np.testing.assert_allclose(part.waveform, full.waveform[96000:144000], atol=0.02)  # half a sample


def reason(path: Path, settings: PrepareSettings = SMALL) -> str:
    with pytest.raises(Rejected) as caught:
        decode(path, settings)
    return str(caught.value)


def test_missing_tracks_are_named(tmp_path: Path) -> None:
    assert reason(write_video(tmp_path / "v.mp4", levels=[50] * 10)) == "no audio track"
    assert reason(write_video(tmp_path / "a.mp4", sound=tone(1, 440))) == "no video track"


def test_files_that_are_no_media_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video, whatever it is called\n" * 40)
    assert reason(tmp_path / "empty.mp4") == "empty file"
    assert reason(tmp_path / "text.mp4").startswith("not a media file")
    assert reason(tmp_path / "none.mp4") == "file not found"
    assert reason(tmp_path) == "not a file"


def test_playlists_cannot_open_other_files(tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", levels=[50] * 50, sound=tone(2, 440))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    (tmp_path / "hls.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\ngood.mp4\n#EXT-X-ENDLIST\n")
    assert reason(tmp_path / "list.mp4").startswith("not a media file")
    assert reason(tmp_path / "hls.mp4").startswith("not a media file")


def test_large_pictures_are_refused_from_the_header(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", levels=[50] * 10, sound=tone(0.4, 440))
    found = reason(path, PrepareSettings(max_pixels=3000))
    assert found == "picture too large: 64 x 48 (limit 3000 pixels)"


def test_encrypted_files_are_named(tmp_path: Path) -> None:
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    path = write_video(tmp_path / "e.mp4", levels=[50] * 50, sound=tone(2, 440), options=options)
    assert reason(path) == "encrypted"


def test_a_file_cut_short_is_truncated_with_its_lengths(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (160, 48, 64, 3), dtype=np.uint8)
    path = write_video(
        tmp_path / "t.mp4", pictures=list(noise), fps=20, sound=tone(8, 440), options={"movflags": "+faststart"}
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 4])
    found = reason(path)
    assert found.startswith("truncated: ")
    assert found.endswith(" of 8.0 s")


def test_short_sound_is_kept_unpadded_or_refused(tmp_path: Path) -> None:
    kept = decode(write_video(tmp_path / "k.mp4", levels=[50] * 100, sound=tone(3, 440)), SMALL)
    assert len(kept.samples) == pytest.approx(48000, abs=800)
    assert "audio 1.0 s shorter than video" in kept.notes
    found = reason(write_video(tmp_path / "r.mp4", levels=[50] * 100, sound=tone(1, 440)))
    assert found == "audio too short: 1.0 of 4.0 s"


def test_a_picture_that_stops_decoding_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", levels=range(10, 210), fps=20, sound=tone(10, 440), gop=200)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.pts is not None and p.pts > 0]
    data = bytearray(path.read_bytes())
    for place, size in packets:
        data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    assert reason(path) == "video too short: 0.0 of 10.0 s"

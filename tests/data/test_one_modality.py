"""Data with sound alone or pictures alone: prepared, checked, described and read like any other."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_files import authors, picture, write_wav
from PIL import Image
from video_files import tone, write_video

from avbench.config import DataConfig, InputConfig
from avbench.data.corpus.clips import modalities_of
from avbench.data.feed.loader import Feed
from avbench.data.feed.memory import Memory, hold
from avbench.data.feed.store_rows import store_rows
from avbench.data.locate import locate, open_source
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.prepare.driver import prepare
from avbench.data.prepare.verify import verify
from avbench.data.stats import data_stats, stats_text
from avbench.errors import InputError, RunError

SMALL = PrepareSettings(n_frames=4, size=32)
INPUT = InputConfig(target_length=64, image_size=32)
RATE = 48_000  # Opus takes no other of the usual ones
SOUNDS = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".ogg": "libopus", ".m4a": "aac"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))


def mute(path: Path, level: int = 80) -> Path:
    return write_video(path, levels=[level] * 25)


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


def opened(source: Path, **options: Any) -> Any:
    return open_source(locate(DataConfig(source=str(source), n_frames=4, **options), INPUT), workers=1, progress=False)


def test_sounds_of_any_form_are_clips_without_pictures(tmp_path: Path) -> None:
    for number, (ending, codec) in enumerate(SOUNDS.items()):
        write_video(
            tmp_path / "in" / "tone" / f"c{number}{ending}", sound=tone(1.5, 440.0, RATE), rate=RATE, audio_codec=codec
        )
    write_video(tmp_path / "in" / "tone" / "film.mp4", sound=tone(1.5, 440.0))
    report = prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert (report.clips, report.rejected) == (6, 0)
    assert verify(tmp_path / "out", workers=1) == []
    clips = opened(tmp_path / "out")
    assert clips.modalities == ("audio",)
    for i in range(6):
        sound, rate = clips.waveform(i)
        assert rate == 16000
        assert len(sound) == pytest.approx(1.5 * rate, rel=0.06)
        spectrum = np.abs(np.fft.rfft(sound[4000:20000]))
        assert spectrum.argmax() == pytest.approx(440, abs=2)
        assert (clips.n_frames(i), clips.labels(i)) == (0, ("tone",))
    figures = data_stats(clips, INPUT, progress=False)
    assert (figures["modalities"], figures["fbank"]["clips"]) == (["audio"], 6)


def test_windows_of_a_long_sound_are_its_parts(tmp_path: Path) -> None:
    rising = np.concatenate([tone(1.0, hertz) for hertz in (300.0, 600.0, 900.0)], axis=1)
    write_video(tmp_path / "in" / "long.flac", sound=rising, audio_codec="flac")
    settings = PrepareSettings(window=1.0)
    assert prepare(tmp_path / "in", tmp_path / "out", settings, workers=1, progress=False).clips == 3
    clips = opened(tmp_path / "out")
    found = [np.abs(np.fft.rfft(clips.waveform(i)[0][:16000])).argmax() for i in range(3)]
    assert found == [300, 600, 900]


@pytest.mark.parametrize("still", [False, True])
def test_silent_videos_and_pictures_are_clips_without_sound(tmp_path: Path, still: bool) -> None:
    for number in range(3):
        if still:
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(np.full((40, 60, 3), 80 * number, np.uint8)).save(tmp_path / "in" / f"c{number}.png")
        else:
            mute(tmp_path / "in" / f"c{number}.mp4", 80 * number)
    report = prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert (report.clips, report.rejected, report.silent) == (3, 0, 0)
    assert verify(tmp_path / "out", workers=1) == []
    clips = opened(tmp_path / "out")
    assert clips.modalities == ("visual",)
    assert [clips.n_frames(i) for i in range(3)] == [1 if still else 4] * 3
    assert [int(clips.frame(i, 0).mean()) for i in range(3)] == pytest.approx([0, 80, 160], abs=3)
    with pytest.raises(RunError, match=r"clip 'c0': sound .* \(the manifest names none\)"):
        clips.waveform(0)
    with pytest.raises(InputError, match="found pictures alone, valid: clips with sound"):
        store_rows(tmp_path / "out", INPUT, workers=0, progress=False)
    figures = data_stats(clips, INPUT, progress=False)
    assert figures["fbank"] is None
    assert "pictures alone" in stats_text(figures)
    assert "log-mel" not in stats_text(figures)


def test_where_one_file_has_both_the_others_are_rejected_as_ever(tmp_path: Path) -> None:
    mute(tmp_path / "in" / "mute.mp4")
    write_wav(tmp_path / "in" / "heard.wav", np.sin(np.arange(16000.0)).astype(np.float32))
    write_video(tmp_path / "in" / "both.mp4", levels=[80] * 25, sound=tone(1.0, 440.0))
    report = prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert report.clips == 1
    assert rejected(tmp_path / "out") == {"heard.wav": "no video track", "mute.mp4": "no audio track"}
    for modality, kept, left in (("audio", 2, "mute.mp4"), ("visual", 2, "heard.wav")):
        settings = PrepareSettings(n_frames=4, size=32, modality=modality)  # type: ignore[arg-type]
        assert prepare(tmp_path / "in", tmp_path / modality, settings, workers=1, progress=False).clips == kept
        assert list(rejected(tmp_path / modality)) == [left]
        assert opened(tmp_path / modality).modalities == (modality,)


def test_files_with_nothing_in_common_are_rejected_with_reasons(tmp_path: Path) -> None:
    mute(tmp_path / "in" / "mute.mp4")
    write_wav(tmp_path / "in" / "heard.wav", np.sin(np.arange(16000.0)).astype(np.float32))
    prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert set(rejected(tmp_path / "out").values()) == {"no video track", "no audio track"}


def test_a_file_that_cannot_be_opened_says_nothing_of_the_others(tmp_path: Path) -> None:
    mute(tmp_path / "in" / "mute.mp4")
    (tmp_path / "in" / "broken.mp4").write_bytes(b"nothing" * 40)
    prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert rejected(tmp_path / "out") == {"broken.mp4": "not a media file: no track that ffmpeg can read"}
    assert opened(tmp_path / "out").modalities == ("visual",)


def test_a_folder_is_resumed_with_the_modality_it_was_begun_with(tmp_path: Path) -> None:
    mute(tmp_path / "in" / "mute.mp4")
    first = prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["settings"]["modality"] == "visual"
    again = prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    assert (again.reused, again.sha256) == (True, first.sha256)
    with pytest.raises(InputError, match="modality visual there, both now"):
        prepare(tmp_path / "in", tmp_path / "out", PrepareSettings(n_frames=4, size=32, modality="both"), workers=1)


def test_one_modality_of_clips_with_both_is_used_without_the_other(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "both.mp4", levels=[80] * 25, sound=tone(1.0, 440.0))
    prepare(tmp_path / "in", tmp_path / "out", SMALL, workers=1, progress=False)
    both, heard, seen = (opened(tmp_path / "out", modality=each) for each in ("auto", "audio", "visual"))
    assert [modalities_of(clips) for clips in (both, heard, seen)] == [("audio", "visual"), ("audio",), ("visual",)]
    assert len({clips.sha256 for clips in (both, heard, seen)}) == 3
    assert (heard.n_frames(0), seen.n_frames(0)) == (0, 4)
    with pytest.raises(RunError, match="clip 'both': visual was asked for"):
        heard.frame(0, 0)
    with pytest.raises(RunError, match="clip 'both': audio was asked for"):
        seen.waveform(0)
    videos = opened(tmp_path / "in", modality="audio")  # videos are prepared so
    assert modalities_of(videos.select([0])) == ("audio",)
    with pytest.raises(InputError, match=r"data.modality: found visual, valid: auto or audio, as .* has sound alone"):
        opened(videos.root, modality="visual")


@pytest.mark.parametrize("segment", [0, 16])
@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_batches_have_nothing_in_place_of_what_is_missing(tmp_path: Path, modality: Any, segment: int) -> None:
    for number in range(3):
        write_video(tmp_path / "in" / f"c{number}.mp4", levels=[80 * number] * 25, sound=tone(1.0, 300.0 + number))
    both, alone = (opened(tmp_path / "in", modality=each) for each in ("auto", modality))
    config = InputConfig(target_length=64, image_size=32, segment_length=segment)
    order = np.arange(3)
    for mode in ("train", "eval", "all_frames"):
        whole, part = (
            next(iter(Feed(clips, config, mode=mode, noise=True, workers=0).batches(order, 3)))  # type: ignore[arg-type]
            for clips in (both, alone)
        )
        other = {"audio": "visual", "visual": "audio"}[modality]
        assert getattr(part, other) is None
        np.testing.assert_array_equal(getattr(part, modality), getattr(whole, modality))
    feed = Feed(alone, config, mode="train", workers=0, memory_limit=0)
    before = next(iter(feed.batches(order, 3)))
    assert hold(feed.dataset)
    assert isinstance(feed.dataset.source, Memory)
    after = next(iter(feed.batches(order, 3)))
    np.testing.assert_array_equal(getattr(after, modality), getattr(before, modality))


@pytest.mark.parametrize(("left_out", "has"), [("video_path", "audio"), ("wav", "visual")])
def test_a_manifest_names_sounds_or_pictures_alone(tmp_path: Path, left_out: str, has: str) -> None:
    path = authors(tmp_path / "set", n_frames=4)
    document = json.loads(path.read_text())
    kept = [dict(entry) for entry in document["data"]]
    for entry in document["data"]:
        del entry[left_out]
    path.write_text(json.dumps(document))
    clips = opened(path)
    assert modalities_of(clips) == (has,)
    assert len(clips.sha256) == 64
    assert (clips.n_frames(0) > 0) == (has == "visual")
    path.write_text(json.dumps({"data": [document["data"][0], *kept[1:]]}))
    with pytest.raises(InputError, match=f"entry 0 lacks '{left_out}', which others have"):
        opened(path)


def test_pictures_beside_videos_are_no_clips(tmp_path: Path) -> None:
    mute(tmp_path / "in" / "mute.mp4")
    Image.fromarray(picture(0)).save(tmp_path / "in" / "mute.jpg")
    assert len(opened(tmp_path / "in")) == 1


def test_a_damaged_or_too_large_picture_is_listed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "in" / "good.png")
    Image.fromarray(picture(0, (300, 200))).save(tmp_path / "in" / "large.png")
    (tmp_path / "in" / "torn.png").write_bytes((tmp_path / "in" / "good.png").read_bytes()[:200])
    settings = PrepareSettings(size=32, max_pixels=10_000)
    prepare(tmp_path / "in", tmp_path / "out", settings, workers=1, progress=False)
    reasons = rejected(tmp_path / "out")
    assert list(reasons) == ["large.png", "torn.png"]
    assert reasons["large.png"].startswith("picture too large: ")
    assert reasons["torn.png"].startswith("not a picture: ")

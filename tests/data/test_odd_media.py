"""The verdict on every file of the shared collection of media that go wrong."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from avbench.data.media.decode import decode
from avbench.data.media.verdict import Rejected
from avbench.data.prepare.driver import PrepareSettings, prepare
from avbench.data.prepare.verify import verify

SMALL = PrepareSettings(n_frames=4, size=32)

NO_AUDIO = [
    "bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4",
    "bear-vp9-odd-dimensions.webm",
    "block_beyond_cluster.mkv",
    "corrupted_decord.mp4",
    "no_timescale.mp4",
    "roadtrip-vp92-10bit.webm",
    "rotated_270.mov",
    "sample_android_slow_motion.mp4",
    "sample_vvc.mp4",
    "sample_with_invalid_nalu.mp4",
    "tiny_66x50.mov",
    "unordered_pts.mov",
    "video_rotation_90.mp4",
]
NO_VIDEO = [
    "100kB-garbage-prefix.mp3",
    "bbb_1ch_12kHz_q10_vorbis.webm",
    "bbb_1ch_16kHz_aac.mp4",
    "bbb_mono_8kHz_12.2kbps_amrnb.3gp",
    "bear_uncommon_sample_rate.flac",
    "sample_alac.mp4",
    "sample_audio_only.mp4",
    "sample_eac3.mp4",
    "sample_with_dts_hd_ma.mkv",
    "surround51_opus_audio_only.webm",
]
OTHERS = {
    "chunk_out_of_range.mp4": "not a media file",
    "go-mp4_truncated_596s.mp4": "truncated: 0.0 of 10.0 s",
    "huge_dims_vp9_bug1416.webm": "picture too large: 12336 x 12336",
    "init_truncated_100bytes.mp4": "no video and no audio track",
    "invalid_userdata.mp4": "truncated: 0.0 of 10.0 s",
    "not_a_video_48bytes.mp4": "not a media file",
    "sample_fragmented_clearkey.mp4": "encrypted",
    "sample_fragmented_sideloaded_track.mp4": "not a media file",
    "sample_malformed_free_box.mp4": "not a media file",
    "sample_missing_stsd.mp4": "audio does not decode",
    "short-cenc.mp4": "encrypted",
    "zero_bytes.webm": "empty file",
    "zero_empty_stsc.mp4": "truncated: 0.1 of 10.0 s",
}
REFUSED = dict.fromkeys(NO_AUDIO, "no audio track") | dict.fromkeys(NO_VIDEO, "no video track") | OTHERS
#: file -> (duration in seconds, silent)
KEPT = {
    "edit_list_positive_shift.mp4": (10.0, True),
    "failing_audio.mp4": (10.0, False),
    "hlg10-color-test.mp4": (0.3, False),
    "iphone_portrait_rotated.MOV": (2.07, False),
    "long_1080p_lowbitrate.mp4": (10.0, True),
    "no_duration.webm": (4.94, True),
    "portrait_4k60.mp4": (0.31, False),
    "sample.avi": (4.09, False),
    "sample.flv": (1.09, False),
    "sample.mkv": (1.07, False),
    "sample_av1.mp4": (1.09, False),
    "sample_edit_list_only_preroll_sync_sample.mp4": (0.53, False),
    "sample_fpcm_32le.mp4": (1.09, False),
    "sample_fragmented.mp4": (1.07, False),
    "sample_h264_mpeg_audio.ts": (0.1, True),
    "sample_partially_fragmented.mp4": (1.16, False),
    "sample_portrait.mp4": (1.09, False),
    "sample_sef_slow_motion.mp4": (2.15, False),
    "sample_shorter_audio.mp4": (1.2, False),
    "sample_twos_pcm.mp4": (1.09, False),
    "silent-black-10s.mp4": (10.0, True),
    "silent_track_cockatoo_mp3_16k.mp4": (10.0, True),
    "surround51_bbb.mp4": (5.31, False),
    "vfr_10fps_quiet.mp4": (2.4, False),
    "wrong_container.mp4": (5.0, True),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(shared: Path, name: str) -> None:
    with pytest.raises(Rejected) as caught:
        decode(shared / "data" / "odd" / name, SMALL)
    assert str(caught.value).startswith(REFUSED[name])


@pytest.mark.parametrize("name", sorted(KEPT))
def test_kept(shared: Path, name: str) -> None:
    clip = decode(shared / "data" / "odd" / name, SMALL)
    duration, silent = KEPT[name]
    assert clip.duration == pytest.approx(duration, abs=0.03)
    assert clip.silent == silent
    assert [frame.size for frame in clip.frames] == [(32, 32)] * 4
    assert clip.frame_times == sorted(clip.frame_times)
    assert 0.5 * duration <= len(clip.samples) / 16000 <= duration + 0.03


def test_the_whole_collection_goes_through(shared: Path, tmp_path: Path) -> None:
    with (shared / "data" / "ODD.csv").open() as handle:
        listed = {row["file"].partition("/")[2] for row in csv.DictReader(handle)}
    assert listed == set(REFUSED) | set(KEPT)
    begin = time.monotonic()
    report = prepare(shared / "data" / "odd", tmp_path / "out", SMALL, workers=2, progress=False)
    assert time.monotonic() - begin < 10 * len(listed)
    rows = pq.read_table(tmp_path / "out" / "manifest.parquet", columns=["source"]).to_pylist()
    assert {row["source"] for row in rows} == set(KEPT)
    assert report.rejected == len(REFUSED)
    assert verify(tmp_path / "out") == []

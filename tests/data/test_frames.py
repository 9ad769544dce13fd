"""The frames a run sees are those it asks for, by their times, or it is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import clip_files
import numpy as np
import pytest
from video_files import tone, write_video

from avbench.cli import main
from avbench.config import DataConfig, InputConfig
from avbench.data.corpus.authors import AuthorsClips
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.frames import FramedClips, eval_frame, framed
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.corpus.stored import open_clips
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.locate import locate, open_source
from avbench.data.media.frame_grid import FrameGrid
from avbench.data.prepare.driver import PrepareSettings, prepare
from avbench.errors import InputError
from avbench.running.request import Request, resolve

INPUT = InputConfig(image_size=16, target_length=64, n_mels=16)
NEAR = 0.006  # grey levels come back to one step, and a frame is two: half a frame of 96
SYNC = InputConfig(image_size=16, target_length=64, n_mels=16, segment_length=32)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 4.8 s at 20 fps; frame i is grey 20 + 2 i and shown from i/20 s."""
    folder = tmp_path_factory.mktemp("videos")
    for name in "ab":
        write_video(folder / f"{name}.mp4", levels=range(20, 212, 2), fps=20, sound=tone(4.8, 440))
    return folder


def ready(videos: Path, out: Path, count: int, sampling: str = "even") -> Path:
    settings = PrepareSettings(n_frames=count, sampling=sampling, size=16)  # type: ignore[arg-type]
    prepare(videos, out, settings, workers=1, progress=False)
    return out


def seen(clips: Clips, inputs: InputConfig, k: int | None = None) -> float:
    """Returns when the judged frame of clip 0, or frame ``k``, is shown, by its grey level; as a share of the clip."""
    frame = clips.frame(0, eval_frame(clips, 0, inputs) if k is None else k)
    return (round(float(frame.mean())) - 20) / 2 / 20 / 4.8


@pytest.mark.parametrize(
    ("stored", "wanted", "places"),
    [
        (FrameGrid(10, "even"), FrameGrid(5, "even"), [0, 2, 4, 6, 8]),
        (FrameGrid(20, "even"), FrameGrid(10, "even"), list(range(0, 20, 2))),
        (FrameGrid(16, "ends"), FrameGrid(4, "ends"), [0, 5, 10, 15]),
        (FrameGrid(6, "centre"), FrameGrid(2, "centre"), [1, 4]),
        (FrameGrid(10, "even"), FrameGrid(1, "ends"), [0]),
        (FrameGrid(16, None), FrameGrid(16, "ends"), list(range(16))),
        (FrameGrid(16, "even"), FrameGrid(10, "even"), None),
        (FrameGrid(10, "even"), FrameGrid(16, "ends"), None),
        (FrameGrid(16, "even"), FrameGrid(16, "ends"), None),
        (FrameGrid(10, "even"), FrameGrid(20, "even"), None),
    ],
)
def test_the_places_of_a_grid_in_another(stored: FrameGrid, wanted: FrameGrid, places: list[int] | None) -> None:
    found = stored.places(wanted)
    assert (None if found is None else found.tolist()) == places


def test_ten_frames_are_not_had_from_sixteen(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ready(videos, tmp_path / "sixteen", 16)
    words = ["--method", "cavmae", "--task", "retrieval", "--data", str(folder), "--set", "train.steps=1"]
    assert main(["run", *words, "train.batch_size=2", "--results", str(tmp_path / "results")]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    for word in (
        str(folder),
        "16 frames a clip at even times (i*D/16)",
        "10 frames a clip at even times (i*D/10)",
        "--set data.n_frames=16 data.sampling=even",
        "avbench data prepare --n-frames 10 --sampling even",
    ):
        assert word in said
    assert not list((tmp_path / "results").rglob("*.safetensors"))
    # All sixteen, as the message says: the judged one is in the middle of the clip, not a third into it.
    clips = open_source(locate(DataConfig(source=str(folder), n_frames=16), INPUT))
    assert seen(clips, INPUT) == pytest.approx(0.5, abs=NEAR)


def test_sync_does_not_run_on_fewer_frames(videos: Path, tmp_path: Path) -> None:
    folder = ready(videos, tmp_path / "ten", 10)
    config = resolve(Request(method="cavmae_sync", data=str(folder), presets=("sync",)))
    assert (config.data.n_frames, config.data.sampling) == (16, "ends")
    with pytest.raises(InputError, match=r"10 frames a clip at even .*16 frames a clip at ends"):
        open_source(locate(config.data, config.input))
    with pytest.raises(InputError, match=r"16 frames a clip at even .*16 frames a clip at ends"):
        open_source(
            locate(DataConfig(source=str(ready(videos, tmp_path / "e", 16)), n_frames=16, sampling="ends"), SYNC)
        )


def test_frames_of_a_finer_set_are_chosen_by_time(videos: Path, tmp_path: Path) -> None:
    folder = ready(videos, tmp_path / "twenty", 24)
    clips = open_source(locate(DataConfig(source=str(folder), n_frames=8), INPUT))
    assert clips.n_frames(0) == 8
    assert [seen(clips, INPUT, k) for k in range(8)] == pytest.approx([k / 8 for k in range(8)], abs=NEAR)
    assert seen(clips, INPUT, 8) == seen(clips, INPUT, 7)  # beyond the last, the last
    assert seen(clips, INPUT) == pytest.approx(0.5, abs=NEAR)
    assert seen(clips, InputConfig(eval_frame=6)) == pytest.approx(6 / 8, abs=NEAR)
    assert isinstance(clips, FramedClips)
    assert clips.frame_times(0) == pytest.approx([4.8 * k / 8 for k in range(8)], abs=1e-3)
    whole, part = PreparedClips.open(folder), clips.select([1])
    assert whole.sha256 != clips.sha256 != part.sha256
    assert clips.sha256 == open_source(locate(DataConfig(source=str(folder), n_frames=8), INPUT)).sha256
    assert (list(part.ids), part.n_frames(0), seen(part, INPUT)) == (["b"], 8, pytest.approx(0.5, abs=NEAR))
    copy = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(copy.frame(1, 3), clips.frame(1, 3))
    batch = AudioVisualDataset(clips, SYNC, mode="all_frames").batch([0, 1])
    assert batch.visual.shape[:2] == batch.audio.shape[:2] == (2, 8)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_the_judged_frame_stays_whatever_the_number_of_frames(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Figure 4: models of another number of frames are judged on the same picture."""
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    for source in (videos, ready(videos, tmp_path / "twelve", 12)):  # prepared for the run, and once for all
        clips = open_source(locate(DataConfig(source=str(source), n_frames=count), INPUT), workers=1, progress=False)
        assert clips.n_frames(0) == count
        assert [seen(clips, INPUT, k) for k in range(count)] == pytest.approx(
            [k / count for k in range(count)], abs=NEAR
        )
        assert seen(clips, INPUT) == pytest.approx(0.5, abs=NEAR)
        training = AudioVisualDataset(clips, INPUT, mode="train")
        drawn = {training.set_epoch(epoch) or training.frames(0)[0][0] for epoch in range(60)}
        assert drawn == set(range(count))


def test_a_set_with_the_frames_asked_for_is_as_it_was(videos: Path, tmp_path: Path) -> None:
    folder = ready(videos, tmp_path / "six", 6)
    clips = open_source(locate(DataConfig(source=str(folder), n_frames=6), INPUT))
    assert isinstance(clips, PreparedClips)
    assert clips.sha256 == PreparedClips.open(folder).sha256
    # The embedded set's preset: frame 3 of 6, as always.
    config = resolve(Request(method="cavmae"))
    assert (config.data.n_frames, config.data.sampling) == (6, "even")
    assert eval_frame(clips, 0, config.input) == 3
    assert resolve(Request(method="cavmae_sync")).data.sampling == "even"


def test_a_folder_that_does_not_tell_its_times(tmp_path: Path) -> None:
    folder = clip_files.prepared(tmp_path / "p", n_frames=4)  # clip 1 has three
    clips = open_clips(folder)
    assert clips.grids() == (FrameGrid(4, "even"),)
    assert framed(clips, FrameGrid(4, "even"), folder) is clips
    half = framed(clips, FrameGrid(2, "even"), folder)
    np.testing.assert_array_equal(half.frame(0, 1), clips.frame(0, 2))
    np.testing.assert_array_equal(half.frame(1, 1), clips.frame(1, 2))
    with pytest.raises(InputError, match="4 frames a clip"):
        framed(clips, FrameGrid(3, "even"), folder)


def test_the_layout_of_the_authors(tmp_path: Path) -> None:
    ten = AuthorsClips.open(clip_files.authors(tmp_path / "ten", n_frames=10))
    assert framed(ten, FrameGrid(10, "even"), tmp_path) is ten
    half = framed(ten, FrameGrid(5, "even"), tmp_path)
    np.testing.assert_array_equal(half.frame(0, 1), ten.frame(0, 2))
    np.testing.assert_array_equal(half.frame(0, eval_frame(half, 0, InputConfig())), ten.frame(0, 5))
    for wanted in (FrameGrid(16, "ends"), FrameGrid(10, "ends"), FrameGrid(20, "even")):
        with pytest.raises(InputError, match="10 frames a clip at even times"):
            framed(ten, wanted, tmp_path)
    sixteen = AuthorsClips.open(clip_files.authors(tmp_path / "sixteen", n_frames=16))
    assert framed(sixteen, FrameGrid(16, "ends"), tmp_path) is sixteen
    with pytest.raises(InputError, match="16 frames a clip at times that it does not tell"):
        framed(sixteen, FrameGrid(10, "even"), tmp_path)
    still = AuthorsClips.open(clip_files.authors(tmp_path / "still", n_frames=1))
    assert framed(still, FrameGrid(10, "even"), tmp_path) is still


def test_a_frame_that_the_run_does_not_have() -> None:
    with pytest.raises(InputError, match=r"input.eval_frame: found 5, valid: 0 to 3, .*or -1"):
        resolve(Request(method="cavmae", sets=("data.n_frames=4", "input.eval_frame=5")))


def test_stats_of_the_sound_need_no_frames(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(ready(videos, tmp_path / "seven", 7)), "--format", "json"]) == 0
    assert '"clips": 2' in capsys.readouterr().out

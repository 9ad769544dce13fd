"""A video embeds in memory as it does in ``avbench features``."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import avbench
from avbench.cli import main
from avbench.config import InputConfig, ModelConfig
from avbench.data.soundshapes import make
from avbench.errors import InputError
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.cavmae_sync import CavMaeSync, CavMaeSyncConfig
from avbench.training.export import save_weights

TINY = ModelConfig(
    embed_dim=32,
    num_heads=2,
    modality_depth=1,
    joint_depth=1,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_num_heads=2,
)
SIZES = InputConfig(image_size=64, target_length=96, frame_shift_ms=20.0, eval_frame=3)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make(folder, train=1, tune=1, test=1, seed=3, workers=1, progress=False)
    return folder / "videos"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, CavMae(CavMaeConfig(), TINY, SIZES, seed=1))
    return path


def test_rows_are_of_unit_length_and_aligned_in_time(videos: Path, weights: Path) -> None:
    model = avbench.load_model("cavmae", checkpoint=weights)
    clip = model.embed_video(next(videos.glob("*.mp4")))
    assert clip.audio.shape == clip.visual.shape == (len(clip.times), 32)
    np.testing.assert_allclose(np.linalg.norm(clip.audio, axis=1), 1, atol=1e-5)
    assert (clip.times[:, 0] < clip.times[:, 1]).all()
    assert ((clip.times[:, 0] <= clip.frame_times) & (clip.frame_times <= clip.times[:, 1])).all()
    # 2.6 s of video in windows of 96 rows of 20 ms: two rows, the second one short.
    assert clip.times[0].tolist() == [0.0, 1.92]
    assert len(clip.times) == 2


def test_a_clip_embeds_as_the_features_command_does(
    videos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    # As long as the model hears, so that one window is the whole clip; JPEG is what still differs.
    save_weights(tmp_path / "w.safetensors", CavMae(CavMaeConfig(), TINY, InputConfig(image_size=64), seed=1))
    out = tmp_path / "x.npz"
    words = ["--method", "cavmae", "--checkpoint", str(tmp_path / "w.safetensors"), "--data", str(videos)]
    assert main(["features", *words, "--out", str(out), "--results", str(tmp_path)]) == 0
    model = avbench.load_model("cavmae", tmp_path / "w.safetensors")
    with np.load(out) as features:
        for k, name in enumerate(features["id"]):
            clip = model.embed_video(videos / f"{name}.mp4")
            assert len(clip.times) == 1
            np.testing.assert_allclose(clip.audio[0], features["audio"][k, 0], atol=1e-4)
            assert clip.visual[0] @ features["visual"][k, 0] > 0.995  # JPEG of noisy frames at quality 90


def test_similarity_is_symmetric_where_it_should_be(videos: Path, weights: Path) -> None:
    model = avbench.load_model("cavmae", checkpoint=weights)
    a, b = sorted(videos.glob("*.mp4"))[:2]
    forth, back = avbench.similarity(a, b, model=model), avbench.similarity(b, a, model=model)
    assert forth.audio_to_visual == pytest.approx(back.visual_to_audio, abs=1e-6)
    assert forth.audio_to_audio == pytest.approx(back.audio_to_audio, abs=1e-6)
    assert -1 <= forth.visual_to_visual <= 1


def test_what_cannot_be_embedded_says_why(tmp_path: Path, weights: Path) -> None:
    model = avbench.load_model("cavmae", checkpoint=weights)
    with pytest.raises(InputError, match="no such file"):
        model.embed_video(tmp_path / "missing.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="empty file"):
        model.embed_video(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="no pretrained weights"):
        avbench.similarity("a.mp4", "b.mp4", results=tmp_path)


def test_real_videos_of_every_length_and_size(shared: Path, weights: Path) -> None:
    model = avbench.load_model("cavmae", checkpoint=weights)
    for name in ("vas/dog_02677.mp4", "clear_rights/toy_rabbit.webm", "other/flipping_a_pancake.mkv"):
        clip = model.embed_video(shared / "data" / "clips" / name)
        assert np.isfinite(clip.audio).all()
        assert np.isfinite(clip.visual).all()
        assert len(clip.times) >= 1


def test_frames_of_sync_are_from_the_first_to_the_last(videos: Path, tmp_path: Path) -> None:
    """As its clips are prepared: 16 frames at i*D/15, not i*D/16."""
    sizes = InputConfig(image_size=64, target_length=256, segment_length=32)
    save_weights(tmp_path / "sync.safetensors", CavMaeSync(CavMaeSyncConfig(), TINY, sizes, seed=1))
    path = next(videos.glob("*.mp4"))
    found = avbench.load_model("cavmae_sync", tmp_path / "sync.safetensors").embed_video(path)
    with av.open(str(path)) as container:
        shown = [frame.time for frame in container.decode(video=0) if frame.time < 2.56]
    step = shown[1] - shown[0]
    np.testing.assert_allclose(found.frame_times[:16], [i * 2.56 / 15 for i in range(16)], atol=1.01 * step)
    assert found.frame_times[15] == pytest.approx(shown[-1], abs=1e-3)

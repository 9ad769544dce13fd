"""What few encoders ask for: a similarity of their own, another grid of patches, two channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoder_text import AUDIO, Judge, of_stage


def test_a_similarity_of_its_own(judge: Judge, capsys: pytest.CaptureFixture) -> None:
    source = f"""
class Mine(avbench.Encoder):
    frames = 3
{AUDIO}
    def visual(self, frames, times):
        return torch.stack([torch.full((3, 4), f.float().mean()) for f in frames])
    def similarity(self, audio, visual):
        assert audio.shape[1:] == (1, 2) and visual.shape[1:] == (3, 4)
        return -(audio[:, 0, 1][:, None] - visual[:, 0, 0][None] / 255).abs()
"""
    status, (record,) = judge(source)
    found = of_stage(record)
    sound, colour = found["audio"][:, 0, 1], found["visual"][:, 0, 0] / 255
    close = -np.abs(sound[:, None] - colour[None])
    ranks = (close > close.diagonal()[:, None]).sum(axis=1) + 1
    assert status == 0
    assert record["metrics"]["a2v/median_rank"] == np.median(ranks)
    assert record["metrics"]["v2a/R@1"] == np.mean(close.argmax(axis=0) == np.arange(8))
    status, (record,) = judge(source, task="class_retrieval")
    assert status == 0
    assert record["metrics"]["a2v/median_rank"] == np.median(ranks)
    capsys.readouterr()
    status, records = judge(source.replace("visual[:, 0, 0][None] / 255", "visual[:1, 0, 0][None]"))
    assert (status, records) == (1, [])
    assert "similarity returned shape (8, 1) for 8 sounds and 8 pictures" in capsys.readouterr().err


def test_patches_of_another_grid_are_localized(judge: Judge, tmp_path: Path, videos: Path) -> None:
    source = """
class Mine(avbench.Encoder):
    image = (96, 96)
    frames = 3

    def audio(self, waves, rate):
        return torch.ones(len(waves), 1)

    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2))[:1] for f in frames])

    def patches(self, frames, times):
        pictures = torch.stack(frames).float().mean(-1)  # (B, F, H, W)
        pooled = torch.nn.functional.adaptive_avg_pool2d(pictures, (7, 5))
        return (pooled - pooled.mean((2, 3), keepdim=True))[..., None]
"""
    words = ("--set", f"task.annotations={videos.parent / 'masks.npz'}", "task.pictures=0", "data.split=all")
    status, (record,) = judge(source, *words, "task.similarity=dot", task="localization")
    assert status == 0
    assert of_stage(record, "tokens")["visual"].shape == (8, 3, 7, 5, 1)
    assert record["n"] == 8
    # Shapes are brighter than the dark ground, in any picture: the sum of colours finds them.
    assert record["metrics"]["AP"] > record["metrics"]["random/AP"]


@pytest.mark.parametrize("layout", ["stereo", "mono", "5.1"])
def test_two_channels_are_heard_apart(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """Left 440 Hz at half the height of right's 880 Hz; of one channel, both are it."""
    import av

    folder = tmp_path / "own"
    folder.mkdir()
    time = np.arange(32_000) / 16_000
    left, right = 0.2 * np.sin(2 * np.pi * 440 * time), 0.4 * np.sin(2 * np.pi * 880 * time)
    count = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    sound = np.zeros((count, len(time)), np.float32)
    sound[: min(2, count)] = [left, right][: min(2, count)]
    for name in "ab":
        with av.open(str(folder / f"{name}.mkv"), "w") as container:
            picture = container.add_stream("ffv1", rate=4)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
            track = container.add_stream("flac", rate=16_000)
            track.codec_context.layout, track.codec_context.format = layout, "s16"
            for k in range(8):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                frame.pts = k
                container.mux(picture.encode(frame))
            packed = (sound.T.reshape(1, -1) * 32767).astype(np.int16)
            heard = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            heard.sample_rate, heard.pts = 16_000, 0
            container.mux([*picture.encode(None), *track.encode(heard), *track.encode(None)])
    status, (record,) = judge(
        """
        class Mine(avbench.Encoder):
            channels = 2

            def audio(self, waves, rate):
                assert all(w.shape == (2, 32_000) for w in waves)
                return torch.stack([w.std(dim=1) for w in waves])

            def visual(self, frames, times):
                return torch.ones(len(frames), 2)
        """,
        "--data",
        str(folder),
    )
    found = of_stage(record)["audio"][0, 0]
    assert status == 0
    wanted = (left.std(), left.std() if layout == "mono" else right.std())
    assert found[1] / found[0] == pytest.approx(wanted[1] / wanted[0], rel=0.01)
    if layout != "5.1":  # which is mixed down by factors of its own
        assert found == pytest.approx(wanted, rel=0.01)

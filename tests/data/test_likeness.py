from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import tone, write_video

from avbench.cli import main
from avbench.data.likeness.fingerprint import Fingerprints
from avbench.data.likeness.flags import Seen, find
from avbench.data.likeness.pairs import close_pairs, groups
from avbench.data.prepare.driver import PrepareSettings, prepare
from avbench.data.prepare.verify import verify
from avbench.data.soundshapes import make
from avbench.data.soundshapes.factors import N_FRAMES, SAMPLE_RATE, clip_factors
from avbench.data.soundshapes.picture import draw
from avbench.data.soundshapes.sound import synthesise


def encoded_again(source: Path, target: Path) -> None:
    """Writes a video at two thirds of its size, three tenths of its volume, another rate, and badly compressed."""
    with av.open(str(source)) as read:
        stream = read.streams.video[0]
        size, fps = (stream.width * 2 // 3 // 2 * 2, stream.height * 2 // 3 // 2 * 2), int(stream.average_rate or 25)
        pictures = [frame.reformat(*size, "rgb24").to_ndarray() for frame in read.decode(video=0)]
    with av.open(str(source)) as read:
        resampler = av.AudioResampler("fltp", "mono", 22050)
        parts = [part.to_ndarray() for frame in read.decode(audio=0) for part in resampler.resample(frame)]
    write_video(
        target, pictures=pictures, fps=fps, size=size, sound=0.3 * np.concatenate(parts, axis=1), rate=22050,
        codec="mpeg4", audio_codec="libmp3lame",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen soundshapes, copies of three, a still, and two parts of one video, prepared."""
    root = tmp_path_factory.mktemp("likeness")
    made = root / "videos"
    make(root / "made", train=6, tune=3, test=6, seed=3, workers=1)
    lines = ["file,label,split,id"]
    for path in sorted((root / "made").rglob("*.mp4")):
        made.mkdir(exist_ok=True)
        path.rename(made / path.name)
        lines.append(f"{path.name},a,{path.stem.partition('_')[0]},{path.stem}")
    for number in range(3):
        encoded_again(made / f"train_00000{number}.mp4", made / f"copy_{number}.mp4")
        lines.append(f"copy_{number}.mp4,a,test,copy_{number}")
    texture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    write_video(made / "still.mp4", pictures=[texture] * 20, sound=tone(1, 300))
    lines.append("still.mp4,a,train,still")
    hiss = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 1, 44100)).astype(np.float32)
    for number, split in enumerate(("train", "test")):
        write_video(
            made / f"part_{number}.mp4", levels=range(20 + 90 * number, 80 + 90 * number, 3), sound=hiss[number]
        )
        lines.append(f"part_{number}.mp4,a,{split},AbCdEfGhIj-_00003{number}")
    (made / "list.csv").write_text("\n".join(lines) + "\n")
    prepare(made / "list.csv", root / "out", PrepareSettings(n_frames=5, size=96), workers=1, progress=False)
    return root / "out"


def test_copies_stills_and_shared_videos_are_named_in_a_line_each(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "verify", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "still picture: still (train)",
        "same picture and sound: copy_0 (test), train_000000 (train)",
        "same picture and sound: copy_1 (test), train_000001 (train)",
        "same picture and sound: copy_2 (test), train_000002 (train)",
        "same video 'AbCdEfGhIj-' in several splits: train (1), test (1)",
        f"{folder}: 0 problems",
        "5 flags, 4 of them across splits",
    ]


def test_the_list_for_machines_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", str(folder), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == {str(folder): []}
    assert [flag["kind"] for flag in found["flags"]] == ["still", "copies", "copies", "copies", "same video"]
    assert found["flags"][1] == {
        "kind": "copies", "clips": ["copy_0", "train_000000"], "splits": ["test", "train"], "across": True
    }  # fmt: skip


def test_folders_that_are_given_together_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", str(folder), str(folder), "--format", "json"]) == 0
    copies = [flag for flag in json.loads(capsys.readouterr().out)["flags"] if flag["kind"] == "copies"]
    assert len(copies) == 15 + 1  # soundshapes, three of them four times, and the still
    assert copies[0]["splits"] == [f"{folder} test", f"{folder} train"] * 2


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_clips_of_one_modality_are_compared_by_it(tmp_path: Path, modality: str) -> None:
    rng = np.random.default_rng(4)
    sounds = [synthesise(clip_factors(0, "test", i))[None] for i in range(2)]
    texture = rng.integers(0, 255, (2, 20, 48, 64, 3), np.uint8)
    for name, which in (("a", 0), ("b", 1), ("c", 0)):
        if modality == "audio":
            sound = sounds[which] * np.float32(0.5 if name == "c" else 1)
            write_video(tmp_path / "in" / f"{name}.m4a", sound=sound, rate=SAMPLE_RATE)
        else:
            write_video(tmp_path / "in" / f"{name}.mp4", pictures=texture[which])
    prepare(tmp_path / "in", tmp_path / "out", PrepareSettings(n_frames=5, size=32), workers=1, progress=False)
    seen: list[Seen] = []
    assert verify(tmp_path / "out", workers=1, seen=seen) == []
    kind = "same sound" if modality == "audio" else "same picture"
    assert [flag.text for flag in find(seen)] == [f"{kind}: a, c"]


def rendered(n: int) -> Seen:
    prints = Fingerprints(n)
    for row in range(n):
        factors = clip_factors(0, "test", row)
        frames = draw(factors)[:: N_FRAMES // 4]
        prints.take(row, list(frames), synthesise(factors), SAMPLE_RATE)
    rows = [{"id": f"test_{row:06d}", "split": "test", "source": f"{row}.mp4"} for row in range(n)]
    return Seen(rows, prints, "soundshapes")


def test_of_different_soundshapes_none_is_flagged() -> None:
    seen = rendered(200)
    assert seen.prints.pictures.any(axis=1).all()
    assert seen.prints.sounds.any(axis=1).all()
    assert find([seen]) == []


def test_blank_pictures_and_silence_are_like_nothing_and_a_sound_alone_is_told() -> None:
    black, other = np.zeros((32, 32, 3), np.uint8), np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    noise = np.random.default_rng(2).standard_normal(16000)
    prints = Fingerprints(4)
    prints.take(0, [black], np.zeros(16000), 16000)
    prints.take(1, [black], noise, 16000)
    prints.take(2, [other], 0.01 * np.stack([noise, noise]), 16000)
    prints.take(3, [], np.zeros(0), 16000)
    rows = [{"id": name, "split": "", "source": ""} for name in "abcd"]
    (flag,) = find([Seen(rows, prints, "x")])
    assert flag.text == "same sound: b, c"
    assert find([]) == []


def test_pairs_are_those_of_all_comparisons_and_groups_those_they_connect() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 64))
    x[1500:1800] = x[:300] + 0.1 * rng.standard_normal((300, 64))
    x[1900:] = 0
    vectors = np.round(20 * x).clip(-127, 127).astype(np.int8)
    unit = vectors / np.maximum(np.linalg.norm(vectors.astype(float), axis=1, keepdims=True), 1)
    cosine = np.triu(unit @ unit.T, 1)
    wanted = {(int(a), int(b)) for a, b in np.argwhere(cosine >= 0.97)}
    found = close_pairs(vectors, 0.97)
    assert len(wanted) >= 295
    assert set(found) == wanted
    assert all(abs(cosine[pair] - value) < 1e-6 for pair, value in found.items())
    assert close_pairs(vectors[:0], 0.97) == {}
    assert groups([(4, 7), (1, 2), (7, 9), (2, 3)]) == [[1, 2, 3], [4, 7, 9]]


def test_a_bucket_of_equal_vectors_is_one_group_without_all_its_pairs() -> None:
    vectors = np.tile(np.arange(-8, 8, dtype=np.int8), (3000, 1))
    pairs = close_pairs(vectors, 0.97)
    assert len(pairs) < 17 * 3000
    assert groups(pairs) == [list(range(3000))]

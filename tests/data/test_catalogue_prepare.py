"""From files on disk to a prepared set and the account of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from clip_files import jpeg, picture, sound, write_wav
from video_files import tone, write_video

from avbench.cli import main
from avbench.config import DataConfig, InputConfig
from avbench.data.catalogue.entry import entry
from avbench.data.corpus.stored import open_clips
from avbench.data.locate import locate, open_source, set_folder
from avbench.errors import InputError

SMALL = ["--n-frames", "2", "--size", "16", "--workers", "1"]
TEST = """-bcdefghijk_000030.mp4,bird chirping_ tweeting
twiceclips1_000000.mp4,dog barking
twiceclips1_000120.mp4,dog barking
brokenclip1_000001.mp4,waterfall burbling
notheretod1_000009.mp4,waterfall burbling
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four of the five clips above, named in four ways, and other files."""
    root = tmp_path_factory.mktemp("media")
    (root / "test.csv").write_text(TEST)
    for index, name in enumerate(
        ("-bcdefghijk.mp4", "a/twiceclips1_0_10.mp4", "a/twiceclips1_120000_130000.mkv", "else.mp4")
    ):
        write_video(root / name, levels=range(20 + index, 40 + index), fps=20, sound=tone(1, 300 + 50 * index))
    write_video(root / "brokenclip1_1.mp4", levels=[50] * 10)  # no sound
    write_wav(root / "notheretod1_000009.wav", sound(0))
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.getbasetemp() / "catalogue_cache"
    monkeypatch.setenv("AVBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def prepared(root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints; the set is in the cache."""
    assert main(["data", "prepare", "vggsound", "--root", str(root), *SMALL]) == 0
    return capsys.readouterr().out


def test_the_account_counts_what_is_there(prepared: str) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in prepared.splitlines() if line.startswith(("test ", "train "))}
    assert rows["test"] == ["15,446", "5", "4", "1", "1", "3", "15,446"]
    assert rows["train"] == ["183,730", "–", "–", "–", "–", "–", "183,727"]
    assert "train.csv" in prepared
    assert "1 broken: no audio track" in prepared
    assert "1 files that are no clip of the list" in prepared
    folder = set_folder("vggsound")
    assert (folder / "missing.txt").read_text() == "notheretod1_000009\n"
    with (folder / "broken.csv").open() as handle:
        assert list(csv.DictReader(handle)) == [{"id": "brokenclip1_000001", "reason": "no audio track"}]
    account = json.loads((folder / "catalogue.json").read_text())
    assert account["counts"]["test"]["usable"] == 3
    assert account["name"] == "vggsound"


def test_clips_have_official_ids_labels_and_class_order(prepared: str) -> None:
    source = locate(DataConfig(source="vggsound", n_frames=2), InputConfig())
    assert source.ready
    assert source.name == "vggsound"
    clips = open_source(source)
    labels = {clips.ids[i]: clips.labels(i) for i in range(len(clips))}
    assert labels == {
        "-bcdefghijk_000030": ("bird chirping, tweeting",),
        "twiceclips1_000000": ("dog barking",),
        "twiceclips1_000120": ("dog barking",),
    }
    assert set(clips.splits) == {"test"}
    assert clips.class_names == entry("vggsound").class_names


def test_the_same_command_again_says_the_same(prepared: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamp = (set_folder("vggsound") / "manifest.parquet").stat().st_mtime_ns
    assert main(["data", "prepare", "vggsound", "--root", str(root / "a" / ".."), *SMALL]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == prepared.splitlines()[1:]
    assert (set_folder("vggsound") / "manifest.parquet").stat().st_mtime_ns == stamp


def test_parts_by_several_processes_give_the_same_folder(
    prepared: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "prepare", "vggsound", "--root", str(root), "--out", str(tmp_path / "out"), *SMALL]
    for part in ("2/2", "1/2"):
        assert main([*words, "--part", part]) == 0
        assert f"part {part}: " in capsys.readouterr().out
    assert not (tmp_path / "out" / "catalogue.json").exists()
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[1:-1] == prepared.splitlines()[1:-1]
    for file in (path for path in set_folder("vggsound").rglob("*") if path.is_file() and path.suffix != ".json"):
        assert (tmp_path / "out" / file.relative_to(set_folder("vggsound"))).read_bytes() == file.read_bytes()


def test_a_dry_run_writes_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path))
    assert main(["data", "prepare", "vggsound", "--root", str(root), "--dry-run"]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("test ")]
    assert line.split() == ["test", "15,446", "5", "4", "1", "–", "–", "15,446"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vggsound"], "--root: found nothing, valid: the folder with the files of VGGSound"),
        (["vggsound", "--root", "nowhere"], "--root nowhere: no such folder"),
        (["vggsond", "--root", "."], "Did you mean 'vggsound'"),
        (["vggsound", "--root", ".", "--window", "10"], "--window: found 10, valid: 0"),
        (["vggsound", "--root", "."], "no official list in"),
        (["vggsound", "--root", ".", "--list", "nothing.csv"], "--list nothing.csv: no such file"),
        (["soundshapes"], "made by this program"),
        ([".", "--out", "x", "--dry-run"], "--dry-run: found with ., valid: with a data set"),
        (["."], "--out: found nothing"),
        (["vggsound", "--root", ".", "--part", "3/2"], "--part: found '3/2', valid: I/N"),
        (["vggsound", "--root", ".", "--part", "1/2", "--dry-run"], "--dry-run: found with --part"),
        (
            ["flickr-soundnet", "--root", ".", "--part", "1/2"],
            "--part: found 1/2 with flickr-soundnet, valid: a set of",
        ),
    ],
)
def test_bad_requests_are_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", *words]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_root_without_any_clip_of_the_list_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.csv").write_text(TEST)
    (tmp_path / "other.mp4").touch()
    assert main(["data", "prepare", "vggsound", "--root", str(tmp_path)]) == 2
    assert "no file of the 5 clips of VGGSound; found others, such as other.mp4" in capsys.readouterr().err


def test_a_name_that_is_not_prepared_says_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="avbench data prepare ave --root DIR"):
        locate(DataConfig(source="ave"), InputConfig())
    with pytest.raises(InputError, match="Did you mean 'vggsound'"):
        locate(DataConfig(source="vggsond"), InputConfig())


def test_a_folder_of_a_sets_name_is_reached_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "ave" / "dog" / "a.mp4", levels=[50] * 20, fps=20, sound=tone(1, 300))
    assert main(["data", "prepare", "./ave", "--out", "out", *SMALL]) == 0
    assert list(open_clips(tmp_path / "out").ids) == ["a"]
    assert main(["data", "prepare", "ave", "--out", "out2", *SMALL]) == 2
    assert locate(DataConfig(source="./ave"), InputConfig()).videos == Path("ave")


def test_pictures_and_sounds_become_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    for index in (1, 2, 3):
        (root / "pictures").mkdir(parents=True, exist_ok=True)
        (root / "pictures" / f"{index}.jpg").write_bytes(jpeg(picture(index)))
        if index != 2:
            write_wav(root / "sounds" / f"{index}.wav", sound(index))
    (root / "masks").mkdir()
    (root / "masks" / "1.jpg").write_bytes(jpeg(np.zeros((8, 8, 3), np.uint8)))
    (root / "pictures" / "3.jpg").write_bytes(b"no picture")
    (root / "flickr_test_250.txt").write_text("1.jpg\n2.jpg\n3.jpg\n4.jpg\n")
    assert main(["data", "prepare", "flickr-soundnet", "--root", str(root), "--out", str(out)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test ")]
    assert line.split()[1:7] == ["250", "4", "2", "2", "1", "1"]
    source = locate(DataConfig(source=str(out)), InputConfig())
    clips = open_source(source)
    assert list(clips.ids) == ["1"]
    assert clips.frame(0, 0).shape == (64, 64, 3)
    assert (out / "missing.txt").read_text() == "2\n4\n"
    assert "3" in (out / "broken.csv").read_text()


def test_the_real_clips_of_vggsound(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media, lists = shared / "data" / "clips", shared / "data" / "annotations" / "vggsound"
    assert main(["data", "prepare", "vggsound", "--root", str(media), "--list", str(lists), "--dry-run"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test ")]
    assert line.split() == ["test", "15,446", "15,446", "17", "15,429", "–", "–", "15,446"]

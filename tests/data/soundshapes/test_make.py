from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avbench.data.prepare.source import list_source
from avbench.data.soundshapes import clip_factors, make, render
from avbench.errors import InputError


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "set"
    return make(out, train=6, tune=2, test=3, seed=5, progress=False)


def test_labels_are_a_source_for_prepare(made: Path) -> None:
    files = list_source(made / "labels.csv").files
    assert len(files) == 11
    assert {file.split for file in files} == {"train", "tune", "test"}
    by_id = {file.id: file for file in files}
    assert by_id["test_000002"].labels == (clip_factors(5, "test", 2).label,)
    assert all(Path(file.path).stat().st_size > 5000 for file in files)


def test_labels_hold_the_factors(made: Path) -> None:
    with (made / "labels.csv").open(newline="") as handle:
        rows = {Path(row["file"]).stem: row for row in csv.DictReader(handle)}
    factors = clip_factors(5, "train", 1)
    assert float(rows["train_000001"]["level"]) == pytest.approx(factors.level, rel=1e-4)
    assert rows["train_000001"]["rimmed"] == str(int(factors.rimmed))


def test_the_second_version_is_another_set_with_factors_of_its_own(made: Path, tmp_path: Path) -> None:
    out = make(tmp_path / "set", train=1, tune=1, test=1, seed=5, version=2, progress=False)
    assert json.loads((out / "soundshapes.json").read_text())["version"] == 2
    first, second = ((folder / "labels.csv").read_text().splitlines() for folder in (made, out))
    assert set(second[0].split(",")) - set(first[0].split(",")) == {"glide", "fall"}
    with pytest.raises(InputError, match="found the set of version 2, seed 5, asked for version 1"):
        make(out, train=1, tune=1, test=1, seed=5, progress=False)


def test_masks_are_those_of_the_frames(made: Path) -> None:
    with np.load(made / "masks.npz") as archive:
        assert len(archive.files) == 12
        times = archive["times"]
        stored = np.unpackbits(archive["tune_000001"], axis=-1).astype(bool)
    clip = render(clip_factors(5, "tune", 1))
    assert stored.shape == clip.frames.shape[:3]
    assert np.array_equal(stored[9], clip.mask(float(times[9])))
    assert 0.05 < stored.mean() < 0.4


def test_preview_and_record(made: Path) -> None:
    with Image.open(made / "preview.png") as preview:
        assert min(preview.size) > 600
    record = json.loads((made / "soundshapes.json").read_text())
    assert record["complete"] is True
    assert (record["version"], record["seed"]) == (1, 5)
    assert record["clips"] == {"train": 6, "tune": 2, "test": 3}


def test_interrupted_work_goes_on_to_the_same_set(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    make(out, train=6, tune=2, test=3, seed=5, progress=False)
    kept = (out / "videos" / "train_000000.mp4").stat().st_mtime_ns
    for name in ("labels.csv", "masks.npz", "preview.png", "videos/train_000004.mp4", "videos/test_000002.mp4"):
        (out / name).unlink()
    make(out, train=6, tune=2, test=3, seed=5, progress=False)
    assert _content(out) == _content(made)
    assert (out / "videos" / "train_000000.mp4").stat().st_mtime_ns == kept


def test_processes_change_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        make(tmp_path / str(workers), train=90, tune=0, test=10, seed=1, workers=workers, progress=False)
    assert _content(tmp_path / "1") == _content(tmp_path / "2")


def test_another_set_is_not_mixed_in(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"seed 5.*seed 6.*another folder"):
        make(made, train=6, tune=2, test=3, seed=6, progress=False)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="other files"):
        make(tmp_path, train=6, tune=2, test=3, seed=6, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="at least one"):
        make(tmp_path / "none", train=0, tune=0, test=0, seed=6, progress=False)
    assert not (tmp_path / "none").exists()

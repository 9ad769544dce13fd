"""A file system that is full: the path, what was needed and what is free are named, and there is room for the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_crash_points import numbers
from tormented import RUN, SMALL

from avbench.cli import main

AMOUNT = r"[\d.]+ (bytes|kB|MB)"
SIZES = rf"cannot be written \(No space left on device; needed: (more than )?{AMOUNT}, free: {AMOUNT}\)"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system, and another size of it when it is asked again."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(size: str) -> Path:
        options = f"{'remount,' if place.is_mount() else ''}size={size}"
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("size", ["16k", "100k", "6m"])
def test_full_results(
    size: str, small: Callable[[str], Path], finished: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = small(size) / "results"
    words = [*RUN, "--results", str(results)]
    assert main(words) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert str(results) in line
    assert re.search(SIZES, line), line
    assert "checkpoint" in line or "all that was finished before is kept" in line
    small("60m")
    assert main(words) == 0
    assert numbers(results).items() <= numbers(finished / "results").items()


def test_full_results_of_a_single_file(
    small: Callable[[str], Path], finished: Path, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    place = small("8k")
    weights = next((finished / "results").glob("stages/pretrain/*/weights.safetensors"))
    labels = next(cache.glob("soundshapes-*/labels.csv"))
    results, clips = ["--results", str(finished / "results")], ["--data", "soundshapes", *SMALL]
    for words in (
        ["report", *results, "--out", str(place / "report.html")],
        ["tables", *results, "--out", str(place / "tables")],
        ["figures", *results, "--out", str(place / "figures")],
        ["checkpoint", "export", str(weights), "--out", str(place / "weights.pth")],
        ["features", *RUN[1:3], *clips, "--checkpoint", str(weights), "--out", str(place / "f.npz")],
        ["data", "prepare", str(labels), "--out", str(place / "prepared"), "--workers", "1"],
    ):
        assert main(words) == 1, words
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"avbench: error: {place}/"), line
        assert re.search(SIZES, line), line
        for left in place.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def test_a_full_cache_is_refused_before_anything_is_made(
    small: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = small("400k")
    monkeypatch.setenv("AVBENCH_CACHE", str(place))
    assert main([*RUN, "--results", str(tmp_path / "results")]) == 2
    assert re.search(rf"{place}/.*: found [\d.]+ kB free, needed: [\d.]+ MB; make room", capsys.readouterr().err)
    assert not (tmp_path / "results").exists()

"""What a stage left is known by its hash, and what is damaged is named, set aside and computed again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avbench.cli import main
from avbench.files import Damaged, sha256_file, write_json
from avbench.report.page.runs import curve
from avbench.store import seal
from avbench.store.records import all_records

SMALL = ["--set", "data.train_clips=8", "data.test_clips=8", "train.batch_size=4", "train.steps=2", "train.workers=0"]
RUN = ["run", "--method", "cavmae", "--skip-untrained", *SMALL]
BROKEN = ["", "{", "[]", "{}", '{"key": {}, "wall_s": NaN}', "[" * 200_000, "9" * 5000, "\xff"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one run."""
    results = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(results / "cache"))
        assert main([*RUN, "--results", str(results / "results")]) == 0
    return results


@pytest.fixture
def results(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVBENCH_CACHE", str(finished / "cache"))
    subprocess.run(["cp", "-a", str(finished / "results"), str(tmp_path / "results")], check=True)
    return tmp_path / "results"


def only(results: Path, pattern: str) -> Path:
    (path,) = results.glob(pattern)
    return path


def values(results: Path) -> list[object]:
    return [record["metrics"] for record in all_records(results)]


def again(results: Path, *, task: str = "retrieval") -> int:
    return main([*RUN, "--task", task, "--results", str(results)])


def forget(results: Path) -> None:
    """Hides the record, so that the evaluation is made again from the stages."""
    folder = only(results, "runs/[!.]*")
    folder.rename(results / "old")


@pytest.mark.parametrize("text", BROKEN)
def test_a_stage_whose_done_json_is_damaged_is_not_done(tmp_path: Path, text: str) -> None:
    (tmp_path / "done.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(Damaged, match=r"done\.json: "):
        seal.read_done(tmp_path, seal.WHOLE)
    assert [damage.path.name for damage in seal.damages(tmp_path, seal.WHOLE)] == ["done.json"]


def test_any_change_of_a_file_is_noticed(tmp_path: Path) -> None:
    np.save(tmp_path / "audio.npy", np.arange(12, dtype=np.float32))
    write_json(tmp_path / "ids.json", ["a", "b"])
    write_json(tmp_path / "done.json", {"key": {}, "wall_s": 1.0, seal.FILES: seal.seal(tmp_path)})
    assert list(seal.damages(tmp_path)) == []
    array = np.load(tmp_path / "audio.npy", mmap_mode="r+")
    array[3] = -array[3]
    array.flush()
    os.utime(tmp_path / "audio.npy", ns=(1, 1))
    (tmp_path / "ids.json").unlink()
    assert [damage.path.name for damage in seal.damages(tmp_path)] == ["audio.npy", "ids.json"]


def test_large_files_are_hashed_by_blocks_and_of_the_largest_arrays_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "BLOCK", 1024)
    monkeypatch.setattr(seal, "LARGE", 4 * 1024)
    np.save(tmp_path / "audio.npy", np.arange(5000, dtype=np.float32))
    (tmp_path / "weights.safetensors").write_bytes(bytes(20_000))
    write_json(tmp_path / "done.json", {"key": {}, "wall_s": 1.0, seal.FILES: seal.seal(tmp_path)})
    assert len(seal.read_done(tmp_path)[seal.FILES]["audio.npy"]["blocks"]) == 20

    def flip(name: str, place: int) -> None:
        """Changes a bit as a disk does: size and time of change stay."""
        path = tmp_path / name
        data, stat = bytearray(path.read_bytes()), path.stat()
        data[place] ^= 4
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        monkeypatch.setattr(seal, "_compared", set())

    def found(*, everything: bool = False) -> list[str]:
        return [damage.path.name for damage in seal.damages(tmp_path, everything=everything)]

    assert found() == found(everything=True) == []
    flip("weights.safetensors", 19_999)
    assert found() == ["weights.safetensors"]
    flip("weights.safetensors", 19_999)
    for place in (60, 20_000):  # in the header, and in the last block
        flip("audio.npy", place)
        assert found() == ["audio.npy"]
        flip("audio.npy", place)
    flip("audio.npy", 1024 * 4 + 200)
    assert found(everything=True) == ["audio.npy"]
    os.utime(tmp_path / "audio.npy")
    assert found() == ["audio.npy"]  # somebody wrote to it, so all of it is compared


def test_weights_that_a_user_names_are_hashed_once_and_known_by_what_their_stage_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "BLOCK", 1024)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(bytes(20_000))
    whole = sha256_file(path)
    assert seal.sha256(path) == whole
    write_json(tmp_path / "done.json", {"key": {}, "wall_s": 1.0, seal.FILES: seal.seal(tmp_path)})
    os.utime(path, ns=(1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(seal, "sha256_file", None)  # its blocks are compared in parallel, and nothing else is read
        assert [seal.sha256(path), seal.sha256(path)] == [whole, whole]
    path.write_bytes(bytes(19_999) + b"1")
    with pytest.raises(Damaged, match="is not what was written"):
        seal.sha256(path)


def test_a_course_that_was_changed_is_not_drawn_and_costs_no_training(
    results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = only(results, "stages/pretrain/*/metrics.csv")
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(Damaged, match=r"metrics\.csv: is not what was written"):
        seal.check_file(path)
    assert curve(results, path.parent.name) is None
    assert "Its curve is left out" in caplog.text
    assert list(seal.damages(path.parent, seal.WHOLE)) == []


def test_a_damaged_done_json_is_set_aside_and_the_numbers_come_again(
    results: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = values(results)
    for stage in ("pretrain", "vectors"):
        only(results, f"stages/{stage}/*/done.json").write_text("{")
    for command in (["report"], ["tables", "--cost"], ["status"]):
        capsys.readouterr()
        assert main([*command, "--results", str(results)]) in (0, 1)
        assert "Traceback" not in capsys.readouterr().err
    assert again(results) == 0  # the record stands
    forget(results)
    caplog.clear()
    assert again(results) == 0
    assert caplog.text.count("done.json: cannot be read as JSON") == 2
    assert values(results) == before
    for stage in ("pretrain", "vectors"):
        folder = only(results, f"stages/{stage}/*/done.json").parent
        assert (folder / "done.json.damaged").read_text() == "{"
        assert list(seal.damages(folder)) == []


@pytest.mark.parametrize("name", ["vectors/*/audio.npy", "vectors/*/ids.json", "pretrain/*/weights.safetensors"])
def test_another_number_is_never_printed_from_changed_outputs(
    results: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    before = values(results)
    path = only(results, f"stages/{name}")
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r+")
        array[0, 0, 0] = -array[0, 0, 0]
        array.flush()
    elif path.suffix == ".json":
        path.write_text(json.dumps(json.loads(path.read_text())[::-1], indent=2))
    else:
        data = bytearray(path.read_bytes())
        data[-2] ^= 0x80
        path.write_bytes(bytes(data))
        (only(results, "stages/vectors/*/done.json")).unlink()
    forget(results)
    assert again(results) == 0
    assert f"{path.name}: is not what was written" in caplog.text
    assert path.with_name(f"{path.name}.damaged").exists()
    assert values(results) == before


def test_a_digit_of_a_record_is_not_changed_unseen(results: Path) -> None:
    before = values(results)
    path = only(results, "runs/[!.]*/record.json")
    text = path.read_text()
    place = text.index("a2v/R@1") + 12
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    assert values(results) == []
    assert again(results) == 0
    assert values(results) == before


@pytest.mark.parametrize("text", BROKEN)
def test_a_damaged_record_is_listed_without_and_computed_again(
    results: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    before = values(results)
    only(results, "runs/[!.]*/record.json").write_bytes(text.encode("latin-1"))
    assert values(results) == []
    assert "Left out" in caplog.text
    assert again(results) == 0
    assert values(results) == before


def test_five_at_once_compute_one_evaluation(results: Path) -> None:
    before = values(results)
    forget(results)
    command = [sys.executable, "-m", "avbench", *RUN, "--results", str(results)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(5)]
    told = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, told
    assert sum("reused, nothing computed" in output for output, _ in told) == 4
    assert len({output.replace(" (reused, nothing computed)", "") for output, _ in told}) == 1
    assert values(results) == before


def test_weights_that_were_changed_are_not_started_from_nor_judged(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = only(results, "stages/pretrain/*/weights.safetensors")
    data = bytearray(weights.read_bytes())
    data[-2] ^= 0x80
    weights.write_bytes(bytes(data))
    for option in (["--init", str(weights)], ["--init", weights.parent.name], ["--checkpoint", str(weights)]):
        assert main([*RUN, *option, "--results", str(results)]) == 2
        assert "weights.safetensors: is not what was written" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"steps": "x"}'])
def test_damaged_notes_of_jobs_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    for name in ("jobs/20260101-000000-0.json", "stages/pretrain/a/started.json", "stages/pretrain/b/done.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert main(["status", "--results", str(tmp_path)]) == 1  # what was begun is stale
    assert "20260101-000000-0.json" in caplog.text
    assert "pretrain/a" in caplog.text

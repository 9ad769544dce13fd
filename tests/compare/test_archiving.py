"""An archive of records: what is read of it is what is read of the folder that it was made of."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_records

from avbench.cli import main
from avbench.compare.archiving import collect
from avbench.compare.comparison import compare
from avbench.compare.run import find
from avbench.config import DataConfig
from avbench.recipes import presets
from avbench.report.tables.ensemble import ensemble
from avbench.report.tables.tables_of import tables_of
from avbench.running import current
from avbench.settings import setting
from avbench.store import archive, index, stages
from avbench.store.records import all_records, read_record, stage_folder, write_record


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Records of soundshapes and of the papers' data; the clips of one run are in another order."""
    found = table_records.write(tmp_path / "computed")
    for seed in range(3):
        for method, stream in (("audiomae", "audio"), ("visualmae", "visual")):
            table_records.scored(found, f"{method}{seed}", method, "classification", {stream: 1.0}, seed)
    path = found / "runs" / "a11" / "per_sample.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{name: each[::-1] for name, each in arrays.items()})
    return found


def archived(results: Path, *, where: str = "archived", part: str = "main", tasks: tuple[str, ...] = ()) -> Path:
    out = results.parent / where
    rows = [row for row in index.read(results).rows if not tasks or row.task in tasks]
    collect(results, rows, out / f"{part}{archive.SUFFIX}")
    return out


def pages(results: Path, data: str | None) -> Any:
    return json.loads(json.dumps([table.to_dict() for table in tables_of(results, (), data)], default=str))


def test_tables_of_an_archive_are_those_of_its_folder(results: Path) -> None:
    out = archived(results)
    assert [path.name for path in out.iterdir()] == ["main.records.zip"]
    for data in (None, "soundshapes"):
        first, second = pages(results, data), pages(out, data)
        cells = [cell for table in first for row in table["rows"] for cell in row.get("cells", ())]
        assert any(cell.get("p_holm") for cell in cells) == (data is not None)
        for one, other in zip(first, second, strict=True):
            assert _rounded(one) == _rounded(other)


def _rounded(value: Any) -> Any:
    """Returns values with numbers as any table prints them; what is drawn of single precision may differ beyond."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def test_records_stages_and_rows_are_the_same(results: Path) -> None:
    folder = stage_folder(results, "pretrain", "p0")
    folder.mkdir(parents=True)
    (folder / "done.json").write_text(json.dumps({"key": {"train": {"epochs": 3}, "options": {}}, "wall_s": 1}))
    (folder / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    table_records.retrieval(results, "p", "cav", 3.0, stages={"pretrain": ["p0"]})
    out = archived(results)
    assert list(all_records(out)) == list(all_records(results))
    assert stages.done(out, "pretrain", "p0") == stages.done(results, "pretrain", "p0")
    assert stages.course(out, "pretrain", "p0") == [{"step": "1", "loss": "0.5"}, {"step": "2", "loss": "0.25"}]
    own, others = ({row.id: row for row in index.read(each).rows} for each in (results, out))
    assert own.keys() == others.keys()
    for run, row in own.items():
        assert (row.metrics, row.config.text, row.pretraining) == (
            others[run].metrics,
            others[run].config.text,
            others[run].pretraining,
        )


@pytest.mark.parametrize("runs", [("a10", "a11"), ("b10", "b20"), ("a11", "a20", "a00")])
def test_runs_compare_as_in_their_folder(results: Path, runs: tuple[str, ...]) -> None:
    for path in results.glob("runs/*/per_sample.npz"):  # resamples go by place, and archives have the order of ids
        arrays = dict(np.load(path))
        order = np.argsort(arrays["id"])
        np.savez(path, **{name: each[order] for name, each in arrays.items()})
    out = archived(results)
    mixed = results.parent / "mixed"
    shutil.copytree(out, mixed)
    shutil.copytree(results / "runs" / runs[0], mixed / "runs" / runs[0])
    for folder in (out, mixed):
        own, found = (compare([find(each, name) for name in runs]) for each in (results, folder))
        assert any("keeps 100 resamples" in text for text in found.warnings)
        for first, second in zip(own.pairs, found.pairs, strict=True):
            assert first.ids_sha256 == second.ids_sha256
            assert first.rows.keys() == second.rows.keys()
            for name, row in first.rows.items():
                other = second.rows[name].paired
                assert row.paired is not None
                assert other is not None
                if row.paired.p_flips is not None:  # of a mean, of which all resamples are had
                    assert list(other) == pytest.approx(list(row.paired), rel=1e-5)
                else:
                    assert other.difference == row.paired.difference
                    assert other.low is not None


def test_a_choice_of_samples_needs_the_folder(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table_records.retrieval(results, "few", "cav", 3.0, n=40, ids_sha256="few")
    out = archived(results)
    assert main(["compare", "a10", "few", "--common-ids", "--results", str(out)]) == 2
    assert "found it in an archive" in capsys.readouterr().err


def test_two_models_together_come_out_of_an_archive(results: Path) -> None:
    def joint(folder: Path) -> list[float]:
        rows = [row for row in index.read(folder).rows if row.data == "soundshapes"]
        return ensemble(folder, *([r for r in rows if r.method == name] for name in ("audiomae", "visualmae")), "mAP")

    assert len(joint(results)) == 3
    assert joint(archived(results)) == joint(results)


def test_parts_of_different_days_fit_together(results: Path) -> None:
    archived(results, where="parts", part="ranks", tasks=("retrieval",))
    out = archived(results, where="parts", part="classes", tasks=("classification",))
    archived(results, where="parts", part="again", tasks=("classification",))
    assert [_rounded(each) for each in pages(out, "soundshapes")] == [
        _rounded(each) for each in pages(results, "soundshapes")
    ]
    shutil.copytree(results / "runs" / "a10", out / "runs" / "a10")
    assert len(index.read(out).rows) == len(index.read(results).rows)


def test_an_archive_of_archives_is_the_same_to_the_byte(results: Path) -> None:
    out = archived(results)
    archived(out, where="second")
    first, second = ((results.parent / name / "main.records.zip").read_bytes() for name in ("archived", "second"))
    assert first == second


def test_an_archive_is_read_once_and_again_when_it_changes(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FEW", 0)
    out = archived(results, tasks=("retrieval",))
    assert {row.task for row in index.read(out).rows} == {"retrieval"}
    assert (out / index.INDEX).exists()
    with monkeypatch.context() as patch:
        patch.setattr(archive.Archive, "text", lambda *_: pytest.fail("it was read again"))
        assert {row.task for row in index.read(out).rows} == {"retrieval"}
    archived(results)
    assert {row.task for row in index.read(out).rows} == {"retrieval", "classification"}


def test_figures_are_drawn_of_an_archive(results: Path) -> None:
    out = archived(results)
    words = ["figures", "methods", "--data", "soundshapes"]
    for folder in (results, out):
        assert main([*words, "--results", str(folder), "--out", str(folder / "drawn")]) == 0
    own, found = (sorted((folder / "drawn").rglob("*.csv")) for folder in (results, out))
    assert [path.read_text() for path in found] == [path.read_text() for path in own] != []


def test_a_new_setting_of_the_data_makes_no_archive_stale(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avbench.running.request import Request, resolve

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Newer(DataConfig):
        novelty: str = setting("", "what no record has yet")

    config = resolve(Request(method="cavmae", task="retrieval")).to_dict()
    run = table_records.record("new", "cavmae", "retrieval") | {"config": config}
    write_record(results, run, {"id": np.array(["a"])})
    (row,) = (row for row in index.read(results).rows if row.id == "new")
    before = current.configured(row)
    monkeypatch.setattr(current, "DataConfig", Newer)
    monkeypatch.setattr(current, "SECTIONS", {**current.SECTIONS, "data": Newer})
    assert current.configured(row) == before != current.UNKNOWN


def test_a_changed_preset_makes_an_archive_stale(
    results: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    real = table_records.record
    from avbench.running.request import Request, resolve

    def whole(run_id: str, method: str, task: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
        found = real(run_id, method, task, seed, **changes)
        return found | {"config": resolve(Request(method=method, task=task, seed=seed)).to_dict()}

    monkeypatch.setattr(table_records, "record", whole)
    folder = results.parent / "whole"
    for seed in range(3):
        table_records.retrieval(folder, f"v{seed}", "cav", 2.0, seed)
        table_records.retrieval(folder, f"w{seed}", "cavmae", 3.0, seed)
    out = archived(folder, where="changed")
    (fresh,) = tables_of(out, ("table_03",), "soundshapes")
    assert not any("stale" in note for note in fresh.notes)
    assert "stale" not in caplog.text
    loaded = presets.load

    def longer(name: str) -> dict[str, Any]:
        preset = loaded(name)
        if name == "soundshapes":
            own = preset.setdefault(presets.METHODS, {}).setdefault("cavmae", {})
            own["train"] = {**own.get("train", {}), "steps": 123}
        return preset

    monkeypatch.setattr(presets, "load", longer)
    current.resolved.cache_clear()
    with caplog.at_level(logging.WARNING):
        (table,) = tables_of(out, ("table_03",), "soundshapes")
        assert main(["list", "runs", "--results", str(out)]) == 0
    assert caplog.text.count("main.records.zip: stale: ") == 1
    assert "1 of its 2 configurations" in caplog.text
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told if line.endswith(", stale")] == ["w0", "w1", "w2"]
    marked = {row.stub[0] for row in table.body if any("stale" in cell.marks for cell in row.cells)}
    assert marked == {"CAV-MAE, λ_c=0.1"}
    assert any(note.startswith("† of an archive that is stale") for note in table.notes)
    shutil.copytree(folder / "runs", out / "runs")  # what is computed here is today's
    (again,) = tables_of(out, ("table_03",), "soundshapes")
    assert not any("stale" in cell.marks for row in again.body for cell in row.cells)
    current.resolved.cache_clear()


@pytest.mark.parametrize("member", [archive.PART, archive.FILES, archive.ARRAYS])
def test_verify_finds_a_changed_archive(results: Path, member: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = archived(results)
    assert main(["verify", str(out)]) == 0
    assert "1 archives, 28 archived records; 0 problems" in capsys.readouterr().out
    path = out / "main.records.zip"
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    data = bytearray(members[member])
    data[len(data) // 2] ^= 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        for name, content in {**members, member: bytes(data)}.items():
            file.writestr(name, content)
    assert main(["verify", str(out)]) == 1
    assert "main.records.zip: " in capsys.readouterr().out
    assert path.exists()  # it is not set aside: other records of it may be whole
    assert read_record(results, "a10") is not None


def test_a_file_that_is_no_archive_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bad.records.zip").write_bytes(b"PK no")
    assert index.read(tmp_path).rows == []
    assert "bad.records.zip: the archive cannot be read" in caplog.text


def test_numbers_are_kept_as_exactly_as_tests_need() -> None:
    for given, kind in (
        (np.array([0.0, 1.0, 1.0]), "uint8"),
        (np.array([1.0, 999.0]), "uint16"),
        (np.array([-1.0, 70_000.0]), "int32"),
        (np.array([0.1, 0.2]), "float32"),
        (np.array([0.5, np.nan]), "float32"),
        (np.array(["a", "b"]), "<U1"),
    ):
        kept = archive.narrowed(given)
        assert kept.dtype == np.dtype(kind)
        if given.dtype.kind == "f":
            np.testing.assert_allclose(kept, given, rtol=1e-7)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["main", "--methods", "cavm"], "method of the records 'cavm'"),
        (["../main"], "PART: found '../main'"),
        (["main", "--results", "none"], "found no such records"),
    ],
)
def test_what_cannot_be_archived_is_told(
    results: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words if "--results" in words else [*words, "--results", str(results)]
    assert main(["archive", *given, "--out", str(results.parent / "no")]) == 2
    assert told in capsys.readouterr().err
    assert not (results.parent / "no").exists()

"""Figures of a few real runs: what is drawn, from what, and what is left out."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import table_records
from matplotlib.collections import PolyCollection

from avbench.cli import main
from avbench.compare.configuration import facts
from avbench.compare.run import Run
from avbench.report.figures import beginnings
from avbench.report.figures.base import Context, main_rows
from avbench.report.figures.curves import families
from avbench.report.figures.drawn import figures_of, names
from avbench.report.records import Records
from avbench.store.records import all_records, write_record

SMALL = ["data.train_clips=16", "data.test_clips=12", "train.batch_size=8", "train.steps=2", "train.log_every=1"]
METHODS, TASKS = ("avmae", "cavmae"), ("retrieval", "reconstruction", "localization")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        words = ["--method", *METHODS, "--task", *TASKS, "--set", *SMALL, "train.workers=0"]
        assert main(["run", *words, "--results", str(folder / "results")]) == 0
    return folder / "results"


@pytest.fixture(scope="module")
def drawn(results: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """All figures, drawn once, and what was said on standard error."""
    folder = tmp_path_factory.mktemp("drawn")
    words = [sys.executable, "-m", "avbench", "figures", "--results", str(results), "--out", str(folder)]
    cache = {"AVBENCH_CACHE": str(results.parent / "cache")}
    done = subprocess.run(words, env={**os.environ, **cache}, capture_output=True, text=True, check=True)
    return folder / "soundshapes", done.stderr


@pytest.fixture(autouse=True)
def use_cache(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(results.parent / "cache"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_all_that_has_records_is_drawn_and_the_rest_says_why(drawn: tuple[Path, str]) -> None:
    folder, said = drawn
    stems = {path.stem for path in folder.glob("*.png")}
    assert {"figure_02", "figure_03", "figure_05", "figure_06_best", "figure_07", "methods", "training"} <= stems
    assert {"figure_09_50", "figure_09_75", "figure_09_90", "figure_12_75", "figure_12_90", "cost"} <= stems
    assert stems == {path.stem for path in folder.glob("*.pdf")} == {path.stem for path in folder.glob("*.csv")}
    assert "left out: figure_04: no records that differ in data.n_frames alone" in said
    assert "left out: sweeps: no records that differ in method.lambda_c alone; for x in" in said
    for task in ("corruption", "offset"):
        assert f"left out: {task}: no record; avbench grid --methods all --tasks {task} --data soundshapes" in said
    assert len(said.splitlines()) == 4


@pytest.mark.parametrize("content", [b"\x00\x00\x00", b"step,contrast\nx,y\n", b""])
def test_a_damaged_log_of_a_training_is_named_and_the_others_are_drawn(
    results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    shutil.copytree(results, tmp_path / "results")
    first, *_ = sorted((tmp_path / "results" / "stages" / "pretrain").glob("[!.]*/metrics.csv"))
    first.write_bytes(content)
    assert main(["figures", "training", "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "soundshapes" / "training.png").exists()
    assert f"{first}: " in caplog.text


def test_the_same_records_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    ids = ["figure_05", "figure_03", "methods"]
    for name in ("one", "other"):
        assert main(["figures", *ids, "--results", str(results), "--out", str(tmp_path / name)]) == 0
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 9
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "other" / path).read_bytes(), path


@pytest.mark.parametrize(("figure", "direction"), [("figure_07", "a2v"), ("figure_02", "v2a")])
def test_a_gallery_shows_what_the_embeddings_rank_first(results: Path, figure: str, direction: str) -> None:
    (found,) = figures_of(Records(results), [figure])
    assert found.drawing is not None
    (record,) = [
        r
        for r in all_records(results)
        if (r["method"], r["task"], r["weights"]) == ("cavmae", "retrieval", "pretrained")
    ]
    run = Run(results, record)
    features = run.embeddings(run.ids)
    close = features.audio[:, 0] @ features.visual[:, 0].T
    close = close if direction == "a2v" else close.T
    ranks = dict(zip(run.ids, run.outputs[f"{direction}_rank"], strict=True))
    for query, group in found.drawing.table.groupby("query"):
        order = np.argsort(-close[features.ids.index(query)])
        assert [features.ids[i] for i in order[: len(group)]] == list(group["found"])
        assert set(group["rank"]) == {ranks[query]}


def test_reconstruction_curves_are_means_of_the_records(results: Path, tmp_path: Path) -> None:
    assert main(["figures", "figure_05", "--results", str(results), "--out", str(tmp_path)]) == 0
    table = rows(tmp_path / "soundshapes" / "figure_05.csv")
    (record,) = [
        r
        for r in all_records(results)
        if (r["method"], r["task"], r["weights"]) == ("avmae", "reconstruction", "pretrained")
    ]
    mine = {
        f"{row['side']}/{row['strategy']}@{float(row['ratio']):g}/mse": float(row["mean"])
        for row in table
        if row["method"] == "avmae"
    }
    assert mine == pytest.approx(record["metrics"], rel=1e-5)


def write_sweep(folder: Path) -> Path:
    for seed in (0, 1):
        for number, value in enumerate((0.01, 0.1, 1.0)):
            table_records.retrieval(
                folder, f"{seed}{number}".zfill(16), "cavmae", 1 + number, seed, settings={"method.lambda_c": value}
            )
        table_records.retrieval(
            folder, f"f{seed}".zfill(16), "cavmae", 1, seed, settings={"method.lambda_c": 5.0, "train.steps": 10}
        )
    return folder


def test_a_sweep_has_what_differs_in_one_setting_alone(tmp_path: Path) -> None:
    archive = Records(write_sweep(tmp_path))
    context = Context(tmp_path, archive, "soundshapes")
    (family,) = families(context.rows("retrieval"), "method.lambda_c")
    assert {value: sorted(row.seed for row in each) for value, each in family.items()} == {
        value: [0, 1] for value in (0.01, 0.1, 1.0)
    }
    (drawn,) = figures_of(Records(tmp_path), ["sweeps"])
    assert drawn.name == "sweeps_lambda_c"
    assert drawn.drawing is not None
    points = drawn.drawing.table.set_index(["metric", "value"])
    scores = [row.metrics["a2v/R@10"] for row in family[0.1]]
    assert points.loc[("a2v/R@10", 0.1), "mean"] == pytest.approx(np.mean(scores))
    assert points.loc[("a2v/R@10", 0.1), "std"] == pytest.approx(np.std(scores, ddof=1))


def test_a_line_is_of_one_setting_beside_the_varied_one(tmp_path: Path) -> None:
    for number, ratio in enumerate((0.5, 0.75, 0.9)):
        for strategy, skill in (("uniform", 1.0), ("time", 9.0)):
            if (strategy, ratio) != ("time", 0.9):
                settings = {"method.masking_ratio": ratio, "method.masking_strategy": strategy}
                run = f"{strategy[0]}{number}".zfill(16)
                table_records.retrieval(tmp_path, run, "cavmae", skill, settings=settings)
    archive = Records(tmp_path)
    drawn = {each.name: each.drawing for each in figures_of(archive, ["sweeps"])}
    table = drawn["sweeps_masking_ratio"].table.set_index(["metric", "value"])
    (uniform,) = (row for row in archive.rows if row.id.endswith("u0"))
    assert table.loc[("a2v/R@10", 0.5), "count"] == 1
    assert table.loc[("a2v/R@10", 0.5), "mean"] == uniform.metrics["a2v/R@10"]


def test_each_of_few_values_has_a_tick_and_words_have_no_band_between_them(tmp_path: Path) -> None:
    for number, batch in enumerate((24, 48, 64, 108)):
        settings = {"train.batch_size": batch}
        table_records.retrieval(tmp_path, f"b{number}".zfill(16), "cavmae", 1 + number, settings=settings)
    for number, wanted in enumerate((True, False)):
        settings = {"method.norm_pix_loss": wanted}
        table_records.retrieval(tmp_path, f"n{number}".zfill(16), "cavmae", 1 + number, settings=settings)
    drawn = {each.name: each.drawing for each in figures_of(Records(tmp_path), ["sweeps"])}
    assert set(drawn) == {"sweeps_batch_size", "sweeps_norm_pix_loss"}
    assert all(drawn.values())
    (axis,) = drawn["sweeps_batch_size"].canvas.axes
    assert list(axis.get_xticks()) == [24, 48, 64, 108]
    (axis,) = drawn["sweeps_norm_pix_loss"].canvas.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["no", "yes"]
    assert not [each for each in axis.collections if isinstance(each, PolyCollection)]


def test_beginnings_are_named_by_what_came_before_and_by_the_own_training(tmp_path: Path) -> None:
    weights = {}
    for method in ("avmae", "cavmae"):
        folder = tmp_path / "stages" / "pretrain" / f"{method}0"
        folder.mkdir(parents=True)
        key = {"method": method, "clips": "others", "options": {}, "train": {"steps": 320}}
        (folder / "done.json").write_text(json.dumps({"key": key, "init": {"source": ""}}))
        weights[method] = str(folder / "weights.safetensors")
    wanted = {
        "none | none": ("untrained", {}),
        "none | own clips": ("pretrained", {}),
        "AV-MAE | none": ("pretrained", {"train.init": weights["avmae"], "train.steps": 0, "train.epochs": 0}),
        "AV-MAE | own clips": ("pretrained", {"train.init": weights["avmae"]}),
        "other clips | own clips": ("pretrained", {"train.init": weights["cavmae"]}),
    }
    for number, (kind, settings) in enumerate(wanted.values()):
        run = f"{number}".zfill(16)
        table_records.retrieval(tmp_path, run, "cavmae", 1 + number, weights=kind, settings=settings)
    swept = {"settings": {"train.steps": 0, "train.epochs": 3}}  # another length, of which there is no chain
    table_records.retrieval(tmp_path, "e".zfill(16), "cavmae", 9, **swept)
    archive = Records(tmp_path)
    drawing = beginnings.draw(Context(tmp_path, archive, "soundshapes"))
    found = drawing.table.set_index("began with")["score"]
    assert set(found.index) == set(wanted)
    rows = {row.id: row.metrics for row in archive.rows}
    for number, name in enumerate(wanted):
        own = rows[f"{number}".zfill(16)]
        assert found[name] == pytest.approx((own["a2v/R@10"] + own["v2a/R@10"]) / 2)


def test_of_several_configurations_the_one_with_most_seeds_is_shown(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    table_records.retrieval(tmp_path, "a" * 16, "cavmae", 1, 2, settings={"method.lambda_c": 1.0})
    context = Context(tmp_path, Records(tmp_path), "soundshapes")
    chosen = main_rows(context, context.rows("retrieval"))
    assert sorted(row.seed for row in chosen) == [0, 1, 2]
    assert {facts(row.config)["method.lambda_c"] for row in chosen} == {1.0}


def test_a_newer_sweep_does_not_take_the_place_of_the_study(tmp_path: Path) -> None:
    write_sweep(tmp_path)  # of as many seeds each
    record = table_records.record("e" * 16, "cavmae", "linear_probe", settings={"method.lambda_c": 0.01})
    write_record(tmp_path, record, {"id": np.array(["clip"])})
    context = Context(tmp_path, Records(tmp_path), "soundshapes")
    assert {facts(row.config)["method.lambda_c"] for row in main_rows(context, context.rows("retrieval"))} == {0.01}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["figur_05"], "Did you mean 'figure_05'?"),
        (["--data", "soundshape"], "Did you mean 'soundshapes'?"),
    ],
)
def test_bad_requests_write_nothing(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["figures", *words, "--results", str(results), "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_records_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--results", str(tmp_path)]) == 2
    assert "found no records" in capsys.readouterr().err


def test_a_picture_whose_data_is_gone_is_left_out(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "elsewhere"))
    assert main(["figures", "figure_02", "--results", str(results), "--out", str(tmp_path / "out")]) == 0
    assert "no longer on this machine" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_the_figures_of_the_repository_are_those_that_are_drawn(drawn: tuple[Path, str]) -> None:
    kept = Path(__file__).parents[2] / "docs" / "study" / "figures" / "soundshapes"
    if not kept.exists():
        pytest.skip("no checkout of the repository")
    headers = {path.name: path.read_text().splitlines()[0] for path in drawn[0].glob("*.csv")}
    committed = {path.name: path.read_text().splitlines()[0] for path in kept.glob("*.csv")}
    others = ("sweeps_", "figure_04", "corruption", "offset")  # of runs that are not made here
    swept = {name for name in committed if name.startswith(others)}
    assert {name: header for name, header in committed.items() if name not in swept} == headers
    stems = {Path(name).stem for name in committed}
    assert {path.name for path in kept.iterdir()} == {
        f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf", "csv")
    }


def test_the_figures_of_the_repository_show_what_its_tables_do() -> None:
    folder = Path(__file__).parents[2] / "docs" / "study"
    if not folder.exists():
        pytest.skip("no checkout of the repository")
    summary = (folder / "tables" / "table_summary.md").read_text()
    (line,) = [line for line in summary.split("Before training")[0].splitlines() if line.startswith("| CAV-MAE |")]
    scores = [
        float(row["score"])
        for row in rows(folder / "figures" / "soundshapes" / "methods.csv")
        if (row["method"], row["weights"], row["task"]) == ("cavmae", "pretrained", "linear_probe")
    ]
    assert len(scores) == 5
    assert f"{100 * np.mean(scores):.1f}" in line


def test_every_figure_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "figures"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == names()

"""Device-hours: what is expected of planned stages, and what recorded ones took."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.cli import main
from avbench.files import read_json, write_json
from avbench.launch.cost import Bill, Costs, spent
from avbench.running.request import Request, resolve
from avbench.store.records import all_records

SMALL = ["--set", "data.train_clips=16", "data.test_clips=8", "train.batch_size=8", "train.steps=2", "train.workers=0"]
CAV = resolve(Request(method="cav"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that share their pretraining."""
    folder = tmp_path_factory.mktemp("cost")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        words = ["run", "--method", "cav", "--task", "retrieval", "linear_probe", *SMALL]
        assert main([*words, "--results", str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def use_cache(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(results / "cache"))


def done_of(results: Path) -> Path:
    (path,) = results.glob("stages/pretrain/*/done.json")
    return path


def test_what_was_measured_is_what_is_expected(results: Path) -> None:
    import json

    done = json.loads(done_of(results).read_text())
    per_step = done["wall_s"] / 2 / 3600
    config = resolve(Request(method="cav", sets=("train.batch_size=8",)))
    assert Costs(results).pretraining(config, 20) == pytest.approx(20 * per_step)
    wider = resolve(Request(method="cav", sets=("train.batch_size=16",)))
    assert Costs(results).pretraining(wider, 20) == pytest.approx(40 * per_step)


def test_another_method_is_expected_by_its_flops(results: Path) -> None:
    costs = Costs(results)
    cav, cavmae = (costs.pretraining(resolve(Request(method=name)), 10) for name in ("cav", "cavmae"))
    assert cav is not None
    assert cavmae is not None
    assert 1.2 * cav < cavmae < 5 * cav  # it has a third pass and a decoder


def test_what_nothing_like_was_measured_of_is_unknown(results: Path, tmp_path: Path) -> None:
    base = resolve(Request(method="cav", presets=("base",)))
    assert Costs(results).pretraining(base, 10) is None
    assert Costs(tmp_path).task(CAV) is None
    assert str(Bill(Costs(tmp_path))) == "cost: nothing to compute"


def test_processes_beside_each_other_count_each(results: Path, tmp_path: Path) -> None:
    done = read_json(done_of(results))
    for count in (1, 4):
        write_json(tmp_path / str(count) / "stages" / "pretrain" / "a" / "done.json", {**done, "processes": count})
    one, four = (Costs(tmp_path / name).pretraining(CAV, 10) for name in ("1", "4"))
    assert one is not None
    assert four == pytest.approx(4 * one)


def test_a_stage_that_runs_share_is_counted_once(results: Path) -> None:
    records = {(record["task"], record["weights"]): record for record in all_records(results)}
    one, other = records["retrieval", "pretrained"], records["linear_probe", "pretrained"]
    assert one["stages"]["pretrain"] == other["stages"]["pretrain"]
    alone = spent(results, [one["id"]])
    assert alone == pytest.approx(one["device_hours"], rel=0.02)
    both = spent(results, [one["id"], other["id"], one["id"]])
    assert both < one["device_hours"] + other["device_hours"] - 0.9 * one["wall_s"]["pretrain"] / 3600


def test_a_plan_says_what_is_left_to_pay(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["grid", "--methods", "cav", "cavmae", "--tasks", "retrieval", "localization", *SMALL, "--dry-run"]
    assert main([*words, "--list", "--results", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("cost: about ")
    assert "(1 pretrainings" in lines[-1]  # cav's is done
    assert lines[-1].endswith("4 of them unknown, as these results have no measured cost for them")  # localization
    assert any("about" in line and line.split()[0] == "pretrain" for line in lines)


def test_a_grid_s_plan_is_a_line_for_each_method_and_task_that_adds_up(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["grid", "--methods", "cav", "cavmae", "--tasks", "retrieval", "linear_probe", *SMALL]
    assert main([*words, "--seeds", "0", "1", "--dry-run", "--results", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[2:6]]
    assert [row[:5] for row in rows] == [
        ["cav", "retrieval", "soundshapes", "2", "1"],
        ["cav", "linear_probe", "soundshapes", "2", "1"],
        ["cavmae", "retrieval", "soundshapes", "2", "0"],
        ["cavmae", "linear_probe", "soundshapes", "2", "0"],
    ]
    assert [row[5] for row in rows] == ["1", "0", "2", "0"]  # one pretraining serves both tasks
    assert lines[6].startswith("cost: ")
    assert "(3 pretrainings" in lines[6]
    assert lines[7:] == ["--list shows every run with its stages and ids"]
    assert main([*words, "--list"]) == 2
    assert "--list: found it without --dry-run" in capsys.readouterr().err


def test_tables_say_what_they_cost(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tables", "table_03", "--data", "soundshapes", "--results", str(results), "--cost"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "all of them: 1 runs" in capsys.readouterr().out
    assert main([*words, "--missing"]) == 0
    assert "# table_03: 2 commands need data or weights that are not here yet" in capsys.readouterr().out

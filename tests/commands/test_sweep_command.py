"""``avbench sweep``: the sweeps that come along, and tiny ones run from end to end."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from avbench.cli import main
from avbench.launch.job import Finished, Job
from avbench.launch.sweep.config import find, names
from avbench.store.records import all_records

CONTENT = {
    "summary": "tiny",
    "source": "nowhere",
    "method": "cavmae",
    "task": ["retrieval"],
    "set": {
        "data.train_clips": 16,
        "data.test_clips": 8,
        "train.batch_size": 8,
        "train.steps": 2,
        "train.workers": 0,
    },
    "space": {"method.lambda_c": {"values": [0.01, 0.1], "log": True}},
    "objectives": {"retrieval a2v/R@10": "maximize", "retrieval v2a/R@10": "maximize"},
}
SHIPPED = "audio_segment batch_size epochs frames initialisation lambda_c masking_ratio masking_strategy norm_pix"


class InProcess:
    """A pool that runs each job here, at once."""

    def __init__(self, slots: Sequence[Mapping[str, str]]) -> None:
        self.slots = len(slots)
        self.done: list[Finished] = []

    def start(self, jobs: Sequence[Job]) -> None:
        self.done += [Finished(job, main(job.arguments), 0.0) for job in jobs]

    def ended(self) -> list[Finished]:
        done, self.done = self.done, []
        return done

    def stop(self, job: Job) -> None: ...

    def close(self) -> None: ...


def write(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump({**CONTENT, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(cache))


def test_the_papers_ablations_are_there() -> None:
    assert set(names()) == {*SHIPPED.split(), "pretraining_data", "registers", "corruption"}


def _cases() -> list[tuple[str, str]]:
    cases = []
    for name in names():
        content = yaml.safe_load(find(name).read_text())
        cases += [(name, data) for data in dict.fromkeys(["soundshapes", *content.get("on_data", {})])]
    return cases


@pytest.mark.parametrize(("name", "data"), _cases())
def test_each_sweep_resolves_on_each_of_its_data(
    name: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert main(["sweep", name, "--data", data, "--dry-run", "--results", str(results)]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0].startswith("# trial 0: ")
    assert sum(line.startswith("# trial") for line in lines) >= 2
    assert all("avbench run " in line or "avbench pretrain " in line for line in lines if not line.startswith("#"))
    assert ("not ready" in output.err) == (data != "soundshapes")
    assert not results.exists()


def test_the_paper_table_is_covered_by_the_sweep_of_its_weight(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "lambda_c", "--dry-run"]) == 0
    out = capsys.readouterr().out
    for value in ("0.001", "0.01", "0.1", "1", "10"):
        assert f"method.lambda_c={value}\n" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing"], "sweep nothing: no such file or name."),
        (["FILE", "--set", "train.stpes=1"], "trial method.lambda_c=0.01: unknown key 'train.stpes'. Did you mean"),
        (["FILE", "--set", "method.lambda_c=1"], "varies it"),
        (["FILE", "--trials", "0"], "--trials: found 0"),
        (["FILE", "--data", "nowhere"], "--data nowhere: no such name"),
        (["FILE", "--launcher", "slrum"], "--launcher"),
    ],
)
def test_bad_input_starts_nothing(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "tiny.yaml")
    words = [str(path) if word == "FILE" else word for word in words]
    assert main(["sweep", *words, "--results", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_dry_run_shows_what_is_known_of_drawn_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = {"method.lambda_c": {"float": [0.01, 1], "log": True}}
    path = write(tmp_path / "drawn.yaml", space=space, sampler={"name": "tpe", "startup": 2}, trials=5)
    shown = []
    for _ in range(2):
        assert main(["sweep", str(path), "--dry-run"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[0].count("avbench run ") == 2
    assert "# 3 more trials follow from what these find" in shown[0]


def test_help_and_lists_do_not_import_optuna() -> None:
    code = (
        "import sys; from avbench.cli import main\n"
        "for words in (['--help'], ['list', 'methods']): assert main(words) == 0\n"
        "try: main(['sweep', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'optuna', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_tiny_sweep_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avbench.launch.local.LocalPool", InProcess)
    path, results = write(tmp_path / "tiny.yaml"), tmp_path / "results"
    words = ["sweep", str(path), "--results", str(results), "--parallel", "2"]
    assert main(words) == 0
    output = capsys.readouterr()
    assert "avbench run --method cavmae --task retrieval --seeds 0 --data soundshapes" in output.err
    assert "* not worse than another trial in every objective" in output.out
    assert "no importance: one parameter is varied, it compares two or more." in output.out
    folder = results / "sweeps" / "tiny"
    records = [record for record in all_records(results) if record["weights"] == "pretrained"]
    assert sorted(record["config"]["method"]["lambda_c"] for record in records) == [0.01, 0.1]
    with (folder / "trials.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["method.lambda_c"]) for row in rows] == [0.01, 0.1]
    by_lambda = {record["config"]["method"]["lambda_c"]: record["metrics"]["a2v/R@10"] for record in records}
    assert [float(row["retrieval a2v/R@10"]) for row in rows] == [by_lambda[0.01], by_lambda[0.1]]
    for kind in ("png", "pdf", "csv"):
        assert (folder / f"slice_method.lambda_c.{kind}").stat().st_size > 0

    # Again: nothing is computed.
    before = {file: file.stat().st_mtime_ns for part in ("runs", "stages") for file in (results / part).rglob("*")}
    assert main(words) == 0
    assert {
        file: file.stat().st_mtime_ns for part in ("runs", "stages") for file in (results / part).rglob("*")
    } == before
    capsys.readouterr()

    write(path, space={"method.lambda_c": [0.01, 0.2]})
    assert main(words) == 2
    assert "holds a sweep with other settings (space: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_driver_loses_no_trial_and_repeats_none(tmp_path: Path) -> None:
    path, results = write(tmp_path / "tiny.yaml", seeds=[0, 1]), tmp_path / "results"
    words = [sys.executable, "-m", "avbench", "sweep", str(path), "--results", str(results), "--parallel", "1"]
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list((results / "stages").glob("pretrain/*")):
        time.sleep(0.1)
        assert driver.poll() is None
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    again = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert again.returncode == 0, again.stderr
    assert "[2/2]" in again.stderr
    records = [record for record in all_records(results) if record["weights"] == "pretrained"]
    assert len(records) == 4
    # One pretraining each, of one session: none was begun twice.
    stages = list((results / "stages" / "pretrain").iterdir())
    assert len(stages) == 4
    for stage in stages:
        assert len((stage / "metrics.csv").read_text().splitlines()) == 2


@pytest.mark.slow
def test_trials_that_share_a_pretraining_share_it(tmp_path: Path) -> None:
    path = write(tmp_path / "shared.yaml", space={"task.resamples": [0, 10, 20]})
    results = tmp_path / "results"
    assert main(["sweep", str(path), "--results", str(results), "--parallel", "2"]) == 0
    assert len(list((results / "stages" / "pretrain").iterdir())) == 1
    assert len([r for r in all_records(results) if r["weights"] == "pretrained"]) == 3

"""Other commands at once in one folder: two grids, two sweeps of one name, a reader beside one that replaces."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from faults import start
from test_at_once import PATIENCE_S, Ready, told
from test_crash_points import numbers
from tormented import RUN

from avbench.running.verify import Verification
from avbench.store.records import all_records

GRID = ["grid", "--methods", "cavmae", "cav", "--tasks", "retrieval", *RUN[4:], "--jobs", "1"]
SWEEP = {
    "summary": "tiny",
    "source": "nowhere",
    "method": "cavmae",
    "task": ["retrieval"],
    "set": {each.split("=")[0]: yaml.safe_load(each.split("=")[1]) for each in RUN[RUN.index("--set") + 1 :]},
    "space": {"method.lambda_c": {"values": [0.01, 0.1]}},
    "objectives": {"retrieval a2v/R@10": "maximize"},
}


def at_once(words: list[str], results: Path, place: Path) -> list[tuple[int, str]]:
    processes = [start([*words, "--results", str(results)], [results], place / f"{i}.told") for i in range(2)]
    for process in processes:
        process.join(2 * PATIENCE_S)
    return [(process.exitcode, told(place, i)) for i, process in enumerate(processes)]


def check(results: Path, count: int) -> None:
    assert len(numbers(results)) == count
    assert list(Verification(results).problems(data=False)) == []
    assert not [path for path in (results / "runs").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_two_grids_compute_each_run_once(ready: Ready, tmp_path: Path) -> None:
    ready("run")
    results = tmp_path / "results"
    ended = at_once(GRID, results, tmp_path)
    assert [status for status, _ in ended] == [0, 0], ended
    check(results, 4)  # two methods, trained and untrained
    assert not any("Traceback" in path.read_text() for path in results.rglob("*.log"))


@pytest.mark.slow
def test_of_two_sweeps_of_one_name_one_drives(ready: Ready, tmp_path: Path) -> None:
    ready("run")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SWEEP))
    results = tmp_path / "results"
    ended = at_once(["sweep", str(tmp_path / "tiny.yaml"), "--parallel", "1"], results, tmp_path)
    assert min(status for status, _ in ended) == 0, ended
    assert all("Traceback" not in text for _, text in ended)
    assert all(status == 0 or "tiny" in text.splitlines()[-1] for status, text in ended), ended
    assert {record["config"]["method"]["lambda_c"] for record in all_records(results)} >= {0.01, 0.1}
    assert list(Verification(results).problems(data=False)) == []


def test_a_reader_finds_a_record_while_it_is_computed_again(ready: Ready, tmp_path: Path) -> None:
    words, results = ready("run"), tmp_path / "results"
    words = [*words, "--results", str(results)]
    first = start(words, [results], tmp_path / "first.told")
    first.join(PATIENCE_S)
    before = numbers(results)
    again = start([*words, "--force"], [results], tmp_path / "again.told")
    looks = 0
    while again.exitcode is None:
        assert numbers(results) == before  # never none, never another
        looks += 1
        with contextlib.suppress(TimeoutError):
            again.join(0.01)
    assert again.exitcode == 0
    assert looks > 10
    assert numbers(results) == before
    check(results, 1)

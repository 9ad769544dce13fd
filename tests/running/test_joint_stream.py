"""The joint stream is computed where a task of the command reads it; numbers do not depend on that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.commands import outline
from avbench.running.execution import Execution
from avbench.running.request import Request
from avbench.running.runner import Runner
from avbench.store.records import all_records

SMALL = ("data.train_clips=8", "data.test_clips=8", "train.batch_size=4", "train.steps=1", "train.workers=0")
SINGLE, WHOLE = {"audio", "visual"}, {"audio", "visual", "joint"}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(tmp_path_factory.mktemp("joint") / "cache"))
        yield


def request(task: str, *sets: str, method: str = "cavmae") -> Request:
    return Request(method=method, task=task, sets=(*SMALL, *sets))


def run(results: Path, *requests: Request) -> None:
    """Runs requests as one command does."""
    runner = Runner(Execution(results=results, progress=False))
    for config in runner.resolve_all(requests):
        assert [each.error for each in runner.run(config, with_untrained=False)] == [""]


def streams(results: Path) -> list[set[str]]:
    """Returns the streams of each extraction there is."""
    return sorted(
        ({path.stem for path in folder.glob("*.npy")} for folder in results.glob("stages/vectors/*")), key=len
    )


def record(results: Path, task: str) -> dict[str, Any]:
    return next(each for each in all_records(results) if each["task"] == task)


def vectors(results: Path) -> str:
    """Returns the id of the vectors that retrieval compared."""
    return str(record(results, "retrieval")["stages"]["vectors"][0])


def test_retrieval_alone_makes_no_joint_stream_and_finds_the_same(tmp_path: Path) -> None:
    run(tmp_path / "alone", request("retrieval"))
    assert streams(tmp_path / "alone") == [SINGLE]
    run(tmp_path / "both", request("retrieval"), request("linear_probe", "task.epochs=1"))
    assert streams(tmp_path / "both") == [WHOLE, WHOLE]  # judged and training clips, each once for both tasks
    alone, both = (record(tmp_path / name, "retrieval") for name in ("alone", "both"))
    assert alone["id"] == both["id"]
    assert alone["metrics"] == both["metrics"]
    folders = [tmp_path / name / "stages/vectors" / vectors(tmp_path / name) for name in ("alone", "both")]
    for name in SINGLE:
        assert np.array_equal(*(np.load(folder / f"{name}.npy") for folder in folders))


def test_vectors_that_are_there_are_used(tmp_path: Path) -> None:
    run(tmp_path, request("knn"))
    run(tmp_path, request("retrieval"))
    assert streams(tmp_path) == [WHOLE, WHOLE]


def test_a_later_task_gets_the_stream_that_it_reads(tmp_path: Path) -> None:
    run(tmp_path, request("retrieval"))
    run(tmp_path, request("knn"))
    assert streams(tmp_path) == [SINGLE, WHOLE, WHOLE]
    assert any(name.startswith("joint/") for name in record(tmp_path, "knn")["metrics"])


def test_the_plan_says_what_the_command_would_do(tmp_path: Path) -> None:
    runner = Runner(Execution(results=tmp_path, progress=False))
    runner.prepare(runner.resolve_all([request("retrieval")]))
    for requests in ([request("retrieval")], [request("retrieval"), request("knn")]):
        results = tmp_path / str(len(requests))
        told = Runner(Execution(results=results, progress=False))
        text = outline.show(told, told.resolve_all(requests))
        run(results, *requests)
        made = {path.name for path in results.glob("stages/vectors/*")}
        assert made
        assert all(name in text for name in made)


def test_a_method_of_one_modality_has_nothing_to_leave_out(tmp_path: Path) -> None:
    run(tmp_path, request("class_retrieval", method="audiomae"))
    run(tmp_path, request("knn", method="audiomae"))
    assert streams(tmp_path) == [{"audio"}, {"audio"}]  # judged and training clips: the first serve both tasks

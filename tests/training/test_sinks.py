"""TensorBoard and Weights & Biases beside metrics.csv, neither of which may change or end a training."""

from __future__ import annotations

import csv
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_method as tiny

from avbench.config import TrainConfig
from avbench.errors import InputError
from avbench.training import sinks
from avbench.training.sinks import Sinks

_BLOCK = 32768  # bytes; the file is a log of records, as LevelDB writes them


def records(folder: Path) -> list[Any]:
    """Returns what an offline run's file holds."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    data, place, found, begun = path.read_bytes(), 7, [], b""
    while place + 7 <= len(data):
        if _BLOCK - place % _BLOCK < 7:
            place += _BLOCK - place % _BLOCK
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        begun += data[place + 7 : place + 7 + size]
        if kind in (1, 4):  # a whole record, or the last part of one
            found.append(Record.FromString(begun))
            begun = b""
        place += 7 + size
    return found


def history(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of an offline run."""
    rows = [record.history.item for record in records(folder) if record.HasField("history")]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in row} for row in rows]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Weights & Biases as a new process finds it: it reads its variables once."""
    package = pytest.importorskip("wandb")
    package.teardown()
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / name))
    yield package
    package.teardown()


@pytest.fixture
def offline(wandb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_tensorboard_where_asked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tiny.train(tmp_path, tiny.config(tensorboard=True))
    assert list((tmp_path / "tensorboard").glob("events.*"))


@pytest.mark.usefixtures("offline")
def test_a_run_of_weights_and_biases_holds_the_rows_and_settings(tmp_path: Path) -> None:
    told = {"name": "tiny pretrain seed 5", "method": {"name": "tiny"}, "seed": 5}
    shown = tiny.train(tmp_path / "a", tiny.config(wandb="people/harness"), told=told)
    (folder,) = (tmp_path / "a/wandb").glob("offline-run-*")
    with (tmp_path / "a/metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    found = history(folder)
    assert [row["_step"] for row in found] == [int(row["step"]) for row in rows]
    assert [row["loss"] for row in found] == pytest.approx([float(row["loss"]) for row in rows], rel=1e-5)
    (run,) = (record.run for record in records(folder) if record.HasField("run"))
    assert (run.entity, run.project, run.display_name) == ("people", "harness", "tiny pretrain seed 5")
    assert {item.key: json.loads(item.value_json) for item in run.config.update if item.key != "_wandb"} == {
        "method": {"name": "tiny"},
        "seed": 5,
    }
    plain = tiny.train(tmp_path / "b")
    assert shown.weights.read_bytes() == plain.weights.read_bytes()


@pytest.mark.usefixtures("offline")
def test_a_training_that_resumes_continues_its_run(tmp_path: Path) -> None:
    settings = tiny.config(wandb="harness")
    with pytest.raises(tiny.Stopped):
        tiny.train(tmp_path / "run", settings, stop=tiny.Stop(9))
    (first,) = (tmp_path / "run/wandb").glob("offline-run-*")
    tiny.train(tmp_path / "run", settings)
    (second,) = set((tmp_path / "run/wandb").glob("offline-run-*")) - {first}
    ids = [next(record.run.run_id for record in records(each) if record.HasField("run")) for each in (first, second)]
    assert ids[0] == ids[1]
    steps = [[row["_step"] for row in history(each)] for each in (first, second)]
    assert steps == [[4], [8, 12, 16, 20, 23]]
    tiny.train(tmp_path / "another", settings)
    (other,) = (tmp_path / "another/wandb").glob("offline-run-*")
    assert next(record.run.run_id for record in records(other) if record.HasField("run")) != ids[0]


@pytest.mark.usefixtures("wandb")
def test_without_a_network_it_is_written_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:  # nobody listens on a port that is only bound
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setattr(sinks, "_START_S", 1)
        caplog.set_level(logging.INFO, "avbench")
        tiny.train(tmp_path / "run", tiny.config(wandb="harness"))
    assert "Weights & Biases cannot be reached" in caplog.text
    (folder,) = (tmp_path / "run/wandb").glob("offline-run-*")
    assert f"wandb sync {folder}" in caplog.text
    assert len(history(folder)) == 6


@pytest.mark.usefixtures("offline")
def test_a_process_of_weights_and_biases_that_stands_still_ends_no_training(
    wandb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = sinks._WeightsAndBiases.write
    service = []

    def stop_and_write(sink: Any, row: sinks.Row) -> None:
        if not service:
            service.append(wandb.setup()._connection._proc._process)
            os.kill(service[0].pid, signal.SIGSTOP)
            monkeypatch.setattr(sinks, "_SILENT_S", 0.5)
        write(sink, row)

    monkeypatch.setattr(sinks._WeightsAndBiases, "write", stop_and_write)
    shown = tiny.train(tmp_path / "run", tiny.config(wandb="harness"))
    assert shown.steps == 23
    told = [message for message in caplog.messages if "goes on without it" in message]
    assert told == [
        "Weights & Biases: TimeoutError: its process did not answer for 0.5 s; the training goes on without it."
    ]
    assert service[0].wait(10) == -signal.SIGKILL


@pytest.mark.usefixtures("offline")
def test_a_sink_that_fails_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/wandb").write_text("in the way")
    tiny.train(tmp_path / "run", tiny.config(wandb="harness"))
    (told,) = [message for message in caplog.messages if message.endswith("the training goes on without it.")]
    assert told.startswith(f"Weights & Biases: FileExistsError: [Errno 17] File exists: '{tmp_path}/run/wandb'")
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 7


def test_a_sink_that_fails_later_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        def write(self, row: sinks.Row) -> None:
            raise RuntimeError("no more room")

        def close(self, *, failed: bool) -> None:
            raise AssertionError

    shown = Sinks(tmp_path, 0, TrainConfig(tensorboard=False), {})
    shown._sinks["Full"] = Full()
    for step in (1, 2):
        shown.write({"step": step})
    shown.close(failed=False)
    assert caplog.messages == ["Full: RuntimeError: no more room; the training goes on without it."]


def test_a_package_that_is_not_there_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sinks.check(TrainConfig())
    with pytest.raises(InputError, match=r"train.wandb: found p, but wandb is not installed.*avbench\[wandb\]"):
        sinks.check(TrainConfig(wandb="p"))


@pytest.mark.parametrize("name", ["a/b/c", "/p", "p/", "what?", "p" * 129])
def test_names_that_are_no_project(name: str) -> None:
    with pytest.raises(InputError, match=r"train\.wandb: found .*, valid: PROJECT or ENTITY/PROJECT"):
        TrainConfig(wandb=name)

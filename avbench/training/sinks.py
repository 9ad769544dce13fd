"""Where the course of a training is shown besides ``metrics.csv``: TensorBoard, and Weights & Biases where asked for.

Nothing here may stop or change a training: a sink that fails is told of once and left out from there on.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from avbench.config import TrainConfig
from avbench.errors import InputError
from avbench.files import write_text

log = logging.getLogger("avbench")
Row = Mapping[str, float | int | None]  # of metrics.csv: ``step``, and values that may be missing
_RUN_ID = "avbench_id"  # in the folder ``wandb``: what a resumed training is known by
_START_S, _END_S = 30, 60  # how long Weights & Biases may keep a training waiting
_SILENT_S = 90.0  # and how long its process may say nothing, such as one that was stopped


class Sink(Protocol):
    """Takes the rows of one training."""

    def write(self, row: Row) -> None:
        """Takes one row."""

    def close(self, *, failed: bool) -> None:
        """Ends, after an error or without one."""


def check(config: TrainConfig) -> None:
    """Refuses a sink whose package is not installed, before any work.

    Raises:
        InputError: It is not.
    """
    if config.wandb and importlib.util.find_spec("wandb") is None:
        raise InputError(
            f"train.wandb: found {config.wandb}, but wandb is not installed; pip install 'avbench[wandb]', or leave the"
            " setting out."
        )


class Sinks:
    """The sinks of one training.

    Args:
        directory: Its folder.
        step: Steps done when it begins.
        config: Which sinks.
        told: What they are told of it: its ``name``, and its settings.
    """

    def __init__(self, directory: Path, step: int, config: TrainConfig, told: Mapping[str, Any]) -> None:
        self._sinks: dict[str, Sink] = {}
        asked: dict[str, Callable[[], Sink | None]] = {}
        if config.tensorboard:
            asked["TensorBoard"] = lambda: _tensorboard(directory, step)
        if config.wandb:
            asked["Weights & Biases"] = lambda: _WeightsAndBiases(directory, config.wandb, told)
        for name, make in asked.items():
            try:
                sink = make()
            except Exception as error:
                _left(name, error)
            else:
                if sink is not None:
                    self._sinks[name] = sink

    def write(self, row: Row) -> None:
        """Hands a row to all."""
        self._each(lambda sink: sink.write(row))

    def close(self, *, failed: bool) -> None:
        """Ends all."""
        self._each(lambda sink: sink.close(failed=failed))

    def _each(self, act: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                act(sink)
            except Exception as error:  # whatever another package raises is no reason to end a training
                _left(name, error)
                del self._sinks[name]


def _left(name: str, error: Exception) -> None:
    said = (str(error).splitlines() or [""])[0]
    log.warning("%s: %s: %s; the training goes on without it.", name, type(error).__name__, said)


class _TensorBoard:
    def __init__(self, board: Any) -> None:
        self._board = board

    def write(self, row: Row) -> None:
        for name, value in row.items():
            if name != "step" and value is not None:
                self._board.add_scalar(name, value, row["step"])

    def close(self, *, failed: bool) -> None:
        self._board.close()


def _tensorboard(directory: Path, step: int) -> Sink | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.debug("TensorBoard is not installed, so only metrics.csv is written; pip install tensorboard.")
        return None
    return _TensorBoard(SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1))


class _WeightsAndBiases:
    """A run of Weights & Biases: the same one each time the training resumes.

    Without a key or a network it is written to ``DIRECTORY/wandb``, whence ``wandb sync`` sends it. Rows that a resumed
    training computes again have the steps, and on a CPU the values, of those that were sent before.

    Args:
        directory: The training's folder.
        project: ``PROJECT``, or ``ENTITY/PROJECT``.
        told: Its ``name`` and settings.
    """

    def __init__(self, directory: Path, project: str, told: Mapping[str, Any]) -> None:
        import wandb

        logging.getLogger("wandb").propagate = False  # it has a file of its own
        entity, _, name = project.rpartition("/")
        options: dict[str, Any] = {
            "project": name,
            "entity": entity or None,
            "id": _run_id(directory / "wandb"),
            "name": told.get("name"),
            "config": {key: value for key, value in told.items() if key != "name"},
            "dir": str(directory),
            "resume": "allow",
            "reinit": "create_new",  # a process may train several, one after the other
        }
        # Silent: it asks nobody for a key. No console, no code: what is sent are settings, rows and the machine's load.
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            save_code=False,
            init_timeout=_START_S,
            finish_timeout=_END_S,
        )
        with _answering():
            wandb.setup(settings)  # before the run begins, as it would ask while that is made
            try:
                self._run = wandb.init(**options)
            except Exception as error:
                if os.environ.get("WANDB_MODE") == "offline":
                    raise
                said = (str(error).splitlines() or [type(error).__name__])[0]
                log.warning("Weights & Biases cannot be reached (%s); writing to %s/wandb instead.", said, directory)
                wandb.teardown()  # its process keeps the id of the run that did not begin
                wandb.setup(settings)
                self._run = wandb.init(**options, mode="offline")
        where = f"wandb sync {Path(self._run.dir).parent}" if self._run.offline else self._run.url
        log.info("Weights & Biases: %s", where)

    def write(self, row: Row) -> None:
        values = {name: value for name, value in row.items() if name != "step" and value is not None}
        with _answering():
            self._run.log(values, step=row["step"])

    def close(self, *, failed: bool) -> None:
        with _answering():
            self._run.finish(exit_code=int(failed))


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Fails a block that waits too long for the process of Weights & Biases; where a block fails, that process ends.

    Raises:
        TimeoutError: It did not answer.
    """
    silent = threading.Event()

    def tell() -> None:
        silent.set()
        _kill()

    timer = threading.Timer(_SILENT_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        import wandb

        _kill()
        with contextlib.suppress(Exception):  # so that it asks for that process no more, as this one ends
            wandb.teardown()
        if silent.is_set():
            raise TimeoutError(f"its process did not answer for {_SILENT_S:g} s") from error
        raise
    finally:
        timer.cancel()


def _kill() -> None:
    from wandb.sdk import wandb_setup

    with contextlib.suppress(AttributeError):  # no public name tells it; one that is starting has a limit of its own
        wandb_setup.singleton()._connection._proc._process.kill()


def _run_id(folder: Path) -> str:
    """Returns the id of the run in a training's folder: the one it has, or a new one."""
    path = folder / _RUN_ID
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = path.read_text(encoding="utf-8")
        if found.isalnum():
            return found
    folder.mkdir(exist_ok=True)
    made = secrets.token_hex(8)
    write_text(path, made)
    return made

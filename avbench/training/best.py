"""The weights with the lowest tuning loss so far, known by their hash.

DIRECTORY/best/model.safetensors   the weights
DIRECTORY/best/state.json          their hash
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from avbench.errors import RunError
from avbench.files import Damaged, atomic_folder, set_aside, sha256_file, write_sealed
from avbench.training.state import FOLDER as CHECKPOINTS
from avbench.training.state import MODEL, STATE, checked

FOLDER = "best"


@contextlib.contextmanager
def replaced(directory: Path) -> Iterator[Path]:
    """Yields a path for weights that become the best of a run when the block ends."""
    with atomic_folder(directory / FOLDER) as temporary:
        yield temporary / MODEL
        write_sealed(temporary / STATE, {"sha256": {MODEL: sha256_file(temporary / MODEL)}})


def weights(directory: Path) -> Path:
    """Returns the best weights of a run that ends.

    Raises:
        RunError: They are not what was written; they and the checkpoints are set aside.
    """
    try:
        return _checked(directory)
    except Damaged as damage:
        _forget(directory, damage)
        raise RunError(f"{damage} The same command trains again.") from None


def mend(directory: Path) -> None:
    """Sets damaged best weights aside, and the checkpoints from which they cannot be had again."""
    if (directory / FOLDER).exists():
        try:
            _checked(directory)
        except Damaged as damage:
            _forget(directory, damage)


def _checked(directory: Path) -> Path:
    folder = directory / FOLDER
    if not (folder / MODEL).is_file():
        raise Damaged(f"{folder / MODEL}: no such file.", folder / MODEL)
    if (folder / STATE).exists():  # a version that wrote none is believed
        checked(folder)
    return folder / MODEL


def _forget(directory: Path, damage: Damaged) -> None:
    set_aside(Damaged(str(damage), directory / FOLDER))
    checkpoints = directory / CHECKPOINTS
    if checkpoints.exists():
        set_aside(Damaged(f"{checkpoints}: the best weights before them are lost.", checkpoints))

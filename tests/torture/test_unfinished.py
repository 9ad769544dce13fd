"""What a killed command left unfinished is damaged, and the command then gives the number of one that was not."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import damaged, written
from faults import Fault, give
from test_crash_points import numbers

# Where each command is killed: at the last operation of these words, in that stage.
KILLED = {"best": ("pretrain", ".weights.safetensors"), "finetune": ("finetune", ".finetuned.safetensors")}
VECTORS = ("vectors", "os.remove {}/partial.json")  # once all rows are there


def torment(words: list[str], stage: str, operation: str, kind: str, place: Path) -> list[str]:
    """Kills a command in a stage, damages each file it left there, and returns what the command then does wrong."""

    def again(name: str, fault: Fault | None = None) -> tuple[int, str, tuple[str, ...]]:
        ended = give([*words, "--results", str(place / name)], [place / name], place / "told", fault)
        return ended.status, ended.text, ended.operations

    _, text, operations = again("whole")
    wanted = numbers(place / "whole")
    assert wanted, text
    parts = operation.split("{}")
    (*_, at) = [i for i, each in enumerate(operations) if f"/{stage}/" in each and all(part in each for part in parts)]
    again("killed", Fault("kill", at))
    left = [path for path in written(place / "killed") if f"stages/{stage}/" in str(path)]
    assert len(left) >= 4
    wrong = []
    for path in left:
        name = path.relative_to(place / "killed")
        shutil.rmtree(place / "copy", ignore_errors=True)
        shutil.copytree(place / "killed", place / "copy", symlinks=True)
        (place / "copy" / name).write_bytes(damaged(path.read_bytes(), kind, zlib.crc32(f"{name} {kind}".encode())))
        status, text, _ = again("copy")
        if status:  # it was refused in a line that says so
            assert "avbench: error" in text or "failed: " in text
            status, text, _ = again("copy")
        if status or numbers(place / "copy") != wanted or "Traceback" in text:
            wrong.append(f"{name} {kind}: {status} {text[-300:]}")
    return wrong


def test_a_bit_of_a_training_that_was_killed(ready: Callable[[str], list[str]], tmp_path: Path) -> None:
    assert torment(ready("best"), *KILLED["best"], "bit", tmp_path) == []


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["bit", "wrong type", "truncated", "empty", "random"])
@pytest.mark.parametrize(("name", "stage"), [*((name, each) for name, each in KILLED.items()), ("run", VECTORS)])
def test_any_damage_of_what_was_killed(
    name: str, stage: tuple[str, str], kind: str, ready: Callable[[str], list[str]], tmp_path: Path
) -> None:
    assert torment(ready(name), *stage, kind, tmp_path) == []

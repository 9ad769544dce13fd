"""Every option of every command that names a file or folder is given what can be none: one line, nothing written.

The options are those the commands declare, so a new one is tried by itself.
"""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.cli import COMMANDS, main

RUN = ["--method", "cavmae", "--dry-run"]
# What a command needs beside the option that is tried.
NEEDED = {
    "run": RUN,
    "pretrain": RUN,
    "evaluate": RUN,
    "features": ["--method", "cavmae", "--checkpoint", "none.pth", "--out", "f.npz"],
    "predict": ["--checkpoint", "none.pth", "none"],
    "grid": ["--methods", "cavmae", "--tasks", "retrieval", "--dry-run"],
    "sweep": ["none.yaml"],
    "list": ["runs"],
    "compare": ["none", "none"],
    "data make": ["soundshapes", "--clips", "0"],
    "data prepare": ["none"],
    "data verify": ["none"],
    "data stats": ["none"],
    "data show": ["none"],
    "checkpoint inspect": ["none.pth"],
    "checkpoint import": ["none.pth", "--out", "x.safetensors"],
    "checkpoint export": ["none.pth", "--out", "x.pth"],
    "checkpoint push": ["none", "owner/name"],
}
EVIL = ["/dev/null", "/dev/null/x", "file", "file/x", "x" * 300, "y/" * 2500, "a\0b", "~nobody-of-that-name/x"]


def classes() -> Iterator[tuple[str, type]]:
    for name in COMMANDS:
        module = importlib.import_module(f"avbench.commands.{name}")
        if hasattr(module, "ACTIONS"):
            yield from ((f"{name} {action}", cls) for action, cls in module.ACTIONS.items())
        else:
            yield name, module.Command


def options() -> Iterator[tuple[str, str, bool]]:
    """Yields each command, an option of it that is a path, and whether it has no name before it."""
    for name, cls in classes():
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            if "Path" in str(hints[field.name]):
                yield (
                    name,
                    field.name,
                    "Positional" in str(hints[field.name]) or "_Positional" in str(hints[field.name]),
                )


@pytest.mark.parametrize(("command", "option", "positional"), list(options()))
def test_what_can_be_no_path(
    command: str,
    option: str,
    positional: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    Path("file").write_bytes(b"some bytes")
    for evil in EVIL:
        needed = list(NEEDED.get(command, []))
        name = f"--{option.replace('_', '-')}"
        if positional:
            words = [evil, *needed[1:]]
        elif name in needed:
            needed[needed.index(name) + 1] = evil
            words = needed
        else:
            words = [*needed, name, evil]
        status = main([*command.split(), *words])
        _, err = capsys.readouterr()
        assert status in (0, 1, 2), (command, words)
        assert "Traceback" not in err
        if status == 2:
            assert err.count("avbench: error: ") == 1, err
            assert err[:-1].isprintable(), ascii(err)
        made = {path.name for path in tmp_path.iterdir()} - {"file"}
        assert not made or (status == 0 and evil.startswith("~")), (words, err)  # a folder of any name may be made
        for name in made:
            shutil.rmtree(name)
        assert Path("file").read_bytes() == b"some bytes"

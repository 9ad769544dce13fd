"""A folder of eight videos with sound, and encoders in files as somebody writes them who has read the guide alone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avbench import cli
from avbench.data.soundshapes import make
from avbench.registry import encoders


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos of two labels, by folder; beside it the masks of what sounds."""
    made = make(tmp_path_factory.mktemp("made"), train=8, tune=0, test=0, seed=0, workers=1, progress=False)
    folder = made / "by_label"
    for i, path in enumerate(sorted((made / "videos").glob("*.mp4"))):
        (folder / ("low", "high")[i % 2]).mkdir(parents=True, exist_ok=True)
        path.rename(folder / ("low", "high")[i % 2] / path.name)
    return folder


@pytest.fixture
def judge(
    videos: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Writes an encoder's file and runs ``avbench run`` with it; returns the exit status and the records."""
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(text: str, *words: str, task: str = "retrieval", name: str = "mine") -> tuple[int, list[dict[str, Any]]]:
        source = "import avbench\nimport torch\n" + textwrap.dedent(text)
        Path(f"{name}.py").write_text(source, encoding="utf-8")
        encoders.forget()
        before = set(tmp_path.glob("*/runs/*"))
        command = ["run", "--encoder", f"{name}.py:Mine", "--data", str(videos), "--task", *task.split()]
        status = cli.main([*command, "--set", "train.workers=0", *words])
        found = sorted(set(tmp_path.glob("*/runs/*")) - before)
        return status, [json.loads((each / "record.json").read_text()) for each in found]

    return run

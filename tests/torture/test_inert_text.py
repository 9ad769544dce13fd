"""Text of data in lines that are printed to be pasted, and in the page, stays text; tables: tests/report."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from refusal import refuse
from safetensors.torch import save_file

from avbench.launch import planner
from avbench.launch.planner import Wanted
from avbench.report.page.build import for_script
from avbench.running.options import ConfigOptions

EVIL = "a b; touch ran $(touch ran) `touch ran` 'x' \"y\""


def test_a_command_that_is_printed_is_the_one_that_is_meant() -> None:
    options = ConfigOptions(data=EVIL, results=Path(EVIL), set=((f"data.labels={EVIL}",),))
    (line,) = planner.shell([[Wanted(methods=("cavmae",), tasks=("retrieval",), seeds=(0,), options=options)]])
    words = shlex.split(line)
    assert words[words.index("--data") + 1] == EVIL
    assert words[words.index("--results") + 1] == EVIL
    assert f"data.labels={EVIL}" in words


def test_a_checkpoint_names_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = '{"method": "cav; touch ran", "config": {}, "model": {"embed_dim": 64, "num_heads": 1}, "input": {}}'
    save_file({"x": torch.zeros(2)}, "w.safetensors", metadata={"avbench": told})
    words = ["evaluate", "--dry-run", "--method", "cavmae", "--checkpoint", "w.safetensors"]
    line = refuse(words, "--method 'cav; touch ran'", capsys, tmp_path)
    assert "--method cav;" not in line


def test_data_ends_no_script_of_the_page() -> None:
    text = for_script({"label": "</script><script>alert(1)</script><!--"})
    assert "</" not in text
    assert "<!--" not in text

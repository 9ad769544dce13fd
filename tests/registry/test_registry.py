"""Methods and tasks are found without importing them; plug-ins from other packages too."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from avbench import registry
from avbench.errors import InputError


def test_the_entry_of_a_method_is_read_without_importing_it() -> None:
    code = "import sys; from avbench import registry; registry.entries('method')['cavmae'].card['summary']; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_lists_the_nearest_and_the_valid() -> None:
    with pytest.raises(InputError, match=r"unknown method 'cavmea'\. Did you mean 'cavmae'\? Valid: .*cavmae"):
        registry.find("method", "cavmea")


def test_every_entry_loads_and_exposes_what_the_runner_needs() -> None:
    for kind, names in (("method", ("METHOD", "CONFIG")), ("task", ("TASK", "CONFIG"))):
        for entry in registry.entries(kind).values():
            module = entry.load()
            for name in names:
                assert hasattr(module, name), f"{entry.module} has no {name}"


def test_a_plug_in_package_is_listed_and_loads(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").touch()
    (tmp_path / "other" / "mine.py").write_text(
        "from avbench.methods.cavmae import CONFIG, METHOD\nfrom avbench.methods.base import Card\n\n"
        'CARD = Card(summary="mine", modalities=("audio", "visual"), objectives=("contrast",), tasks=("retrieval",))\n'
    )
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avbench.methods]\nmine = other.mine\n")
    code = textwrap.dedent(
        """
        from avbench.cli import main
        from avbench import registry
        main(["list", "methods"])
        print(registry.find("method", "mine").load().METHOD.__name__)
        """
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert "mine" in answer.stdout
    assert "[from other]" in answer.stdout

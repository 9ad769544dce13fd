"""The notebook, run from top to bottom in an empty folder, as a reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "videos.ipynb"


def cells() -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook["cells"])
    assert len(cells()) >= 7


@pytest.mark.slow
def test_it_runs_to_the_gallery_and_the_overlay(tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"  # processes that it starts import the module that it is
    body = "\n\n".join(cells()).replace("\n", "\n    ")
    script.write_text(f'if __name__ == "__main__":\n    {body}\n    overlay.save("overlay.png")\n', encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AVBENCH_CACHE": str(tmp_path / "cache"), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, check=True)
    for name in ("gallery.png", "overlay.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 300
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # something is on it

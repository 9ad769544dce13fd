"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports torch: as many tests as cores run side by side, with one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-dir", default=None, help="folder with recordings of the reference implementations")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared facts and media beside the project."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside the project")
    return folder

"""Fixtures of the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from ranks import SMALL_RUN

from avbench.cli import main


@pytest.fixture(scope="session")
def clips_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with few generated clips, made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder))
        words = ["--method", "cavmae", "--set", *SMALL_RUN, "train.steps=1", "--results", str(folder / "first")]
        assert main(["pretrain", *words]) == 0
    return folder

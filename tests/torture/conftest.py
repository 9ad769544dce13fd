"""Small real runs that are killed and damaged."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tormented import COMMANDS, FINISHED

from avbench.cli import main


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepared clips that all commands share."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a pretraining that two tasks judged, and of what lists them."""
    folder = tmp_path_factory.mktemp("finished")
    for words in FINISHED:
        assert main([*words, "--results", str(folder / "results")]) in (0, 1), words
    return folder


@pytest.fixture(scope="session")
def videos(finished: Path, cache: Path) -> Path:
    """The clips as they were before they were prepared."""
    (labels,) = cache.glob("soundshapes-*/labels.csv")
    return labels


@pytest.fixture(scope="session")
def ready(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Returns the words of a command by name, once its clips are prepared."""

    @functools.cache
    def words(name: str) -> list[str]:
        assert main([*COMMANDS[name], "--results", str(tmp_path_factory.mktemp("ready"))]) == 0
        return COMMANDS[name]

    return words

"""Weights on the hub: from its cache where there is no network, else one line that says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from avbench import cli
from avbench.errors import InputError
from avbench.training.hub import commit_of, fetched

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as huggingface_hub keeps it, with one file of one commit, and no network."""
    folder = tmp_path / "hub" / "models--some--weights"
    (folder / "snapshots" / COMMIT / "deep").mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "deep" / "model.bin").write_bytes(b"weights")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_the_cache_is_used_without_a_network(cache: Path, revision: str) -> None:
    found = fetched(Path(f"hf:some/weights/deep/model.bin{revision}"))
    assert found.read_bytes() == b"weights"
    assert COMMIT in str(found)


def test_a_path_is_itself() -> None:
    assert fetched(Path("some/model.bin")) == Path("some/model.bin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf:some/weights/other.bin", "cache .* has no such file; fetch it where there is a network"),
        (f"hf:some/weights/deep/model.bin@{'f' * 40}", "cache .* has no such file"),
        ("hf:other/weights/model.bin", "cache .* has no such file"),
        ("hf:weights.bin", "found 1 parts, valid: hf:OWNER/REPOSITORY/FILE"),
        ("hf:some/weights", "found 2 parts, valid"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(cache: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        fetched(Path(text))
    assert "\n" not in str(caught.value)


def test_the_commit_of_a_branch_is_what_was_fetched_last(cache: Path) -> None:
    assert commit_of("some/weights", "main") == COMMIT
    assert commit_of("some/weights", "f" * 40) == "f" * 40
    with pytest.raises(InputError, match=r"hf:some/weights@other: neither the hub .* nor its cache"):
        commit_of("some/weights", "other")


def test_a_command_refuses_what_the_hub_has_not(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--method", "cavmae", "--checkpoint", "hf:some/weights/none.pth"]
    assert cli.main(words) == 2
    assert "hf:some/weights/none.pth: the hub cannot be reached" in capsys.readouterr().err
    assert not Path("results").exists()

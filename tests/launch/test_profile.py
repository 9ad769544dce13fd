"""Cluster profiles: what is read, found by name and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.errors import InputError
from avbench.launch.profile import Profile, find_profile, known_profiles


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_profiles_are_found_by_name_beside_the_project_first() -> None:
    write(Path("home/avbench/clusters/jean.yaml"), "partition: far")
    write(Path("home/avbench/clusters/other.yaml"), "gpus_per_node: 8")
    write(Path("clusters/jean.yaml"), "partition: near\nnodes: 2\ngpus_per_node: 4\ntime: '2-00:30'")
    found = find_profile("jean")
    assert (found.partition, found.world, found.device) == ("near", 8, "cuda")
    assert find_profile("other").tasks_per_node == 8
    assert set(known_profiles()) == {"jean", "other"}
    assert find_profile("home/avbench/clusters/jean.yaml").partition == "far"
    with pytest.raises(InputError, match=r"--cluster jan: no such profile\. Did you mean 'jean'\? Valid: jean, other"):
        find_profile("jan")
    with pytest.raises(InputError, match="no such file"):
        find_profile("gone.yaml")


@pytest.mark.parametrize(
    ("text", "minutes"), [("90", 90), ("1:30", 90), ("20:00:00", 1200), ("2-00:00:00", 2880), ("0:00:30", 1)]
)
def test_times_are_read_as_slurm_writes_them(text: str, minutes: int) -> None:
    assert Profile(time=text).minutes == minutes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin: gpu", "unknown key 'partitoin'. Did you mean 'partition'?"),
        ("time: 1:30:00", "time: found the number 5400, valid: text in quotes"),
        ("time: soon", "time: found 'soon', valid: minutes, or"),
        ("time: '0'", "time: found '0'"),
        ("nodes: 0", "nodes: found 0, valid: at least 1"),
        ("extra: [mail]", "extra: found 'mail', valid: NAME=VALUE"),
        ("gpus_per_node: four", "gpus_per_node"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_key(text: str, message: str) -> None:
    path = write(Path("here.yaml"), text)
    with pytest.raises(InputError) as caught:
        find_profile(str(path))
    assert str(caught.value).startswith("here.yaml: ")
    assert message in str(caught.value)

"""A crash while writing leaves the old file or the new one, never half of one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
import time
from pathlib import Path

import pytest

from avbench import files
from avbench.errors import InputError
from avbench.files import (
    Damaged,
    atomic_folder,
    atomic_path,
    canonical_json,
    is_sealed,
    read_json,
    set_aside,
    sha256_file,
    sha256_text,
    write_json,
    write_sealed,
    write_text,
)
from avbench.files.paths import check_folder, check_folder_name


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_killed_writers_left_an_hour_ago_goes_with_the_next_write(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = platform.node()
    names = {
        "old": f".a.csv.{host}.{dead.pid}.tmp",
        "folder": f".b.{host}.{dead.pid}.tmp",
        "young": f".c.csv.{host}.{dead.pid}.tmp",
        "alive": f".d.csv.{host}.{os.getpid()}.tmp",
        "elsewhere": f".e.csv.another{host}.{dead.pid}.tmp",
        "theirs": ".notes.tmp",
    }
    for name, file in names.items():
        path = tmp_path / file
        (path.mkdir if name == "folder" else path.touch)()
        hours = 0 if name == "young" else 2
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    write_text(tmp_path / "table.tex", "new")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"table.tex", *(names[name] for name in ("young", "alive", "elsewhere", "theirs"))}


def test_a_failed_folder_leaves_the_old_folder_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with atomic_folder(target) as temporary:
        (temporary / "x").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "x").write_text("half")
        raise RuntimeError
    assert (target / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / name).write_text(name)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["second"]


def test_canonical_json_does_not_depend_on_order_and_refuses_nan(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [1, 2]}) == canonical_json({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_hashes_agree(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "abc")
    assert sha256_file(tmp_path / "a") == sha256_text("abc")
    assert sha256_text("abc").startswith("ba7816bf")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_where_names_can_be_exchanged_and_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for name in ("first", "second", "third"):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / name).write_text(name)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["third"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_readers_find_a_whole_folder_while_it_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with atomic_folder(folder) as temporary:
        (temporary / "record.json").write_text("{}")
    two = [tmp_path / name for name in ("one", "two")]
    for each in two:
        each.mkdir()
    if not files._exchange(*two):
        pytest.skip("this file system cannot exchange two names")
    missing, over = [], threading.Event()

    def read() -> None:
        while not over.is_set():
            if not (folder / "record.json").exists():
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        with atomic_folder(folder) as temporary:
            (temporary / "record.json").write_text("{}")
    over.set()
    reader.join()
    assert not missing


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file"),
        (b"", "found an empty file"),
        (b" \n", "found an empty file"),
        (b"{", "cannot be read as JSON"),
        (b'{"a": 1', "cannot be read as JSON"),
        (b"[1]", "found JSON of type list, valid: an object"),
        (b'{"a": NaN}', "found NaN, which is no JSON"),
        (b'{"a": -Infinity}', "found -Infinity, which is no JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b"1" * 5000, "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"\0" * 50, "cannot be read as JSON"),
    ],
)
def test_damaged_json_is_named_and_set_aside(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "a.json"
    for _ in range(2):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Damaged) as caught:
            read_json(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert told in str(caught.value)
        set_aside(caught.value)
    names = [] if content is None else ["a.json.damaged", "a.json.damaged-2"]
    assert sorted(each.name for each in tmp_path.iterdir()) == names


def test_a_path_where_no_folder_can_be_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (
        Path("/dev/null"),
        tmp_path / "file" / "x",
        tmp_path / ("a" * 300),
        tmp_path / "b" / ("a" * 300) / "c",
    ):
        with pytest.raises(InputError, match="--results"):
            check_folder("--results", path)
    check_folder("--results", tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["", ".", "..", "../../x", "a/b", "/x", ".hidden", "a\nb", "a" * 300, "é" * 120])
def test_what_is_no_plain_name_of_a_folder_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="--name: found"):
        check_folder_name("--name", name)


@pytest.mark.parametrize("changed", [("2.5", "2.4"), ('"a"', '"z"'), ("3", "4"), ('"seal": "', '"seal": "0')])
def test_an_object_that_holds_its_hash_is_read_as_it_was_written_or_not_at_all(
    tmp_path: Path, changed: tuple[str, str]
) -> None:
    path = tmp_path / "x.json"
    value = {"b": [1, 2.5], "a": "\u00fc", "c": {"d": 3}}
    write_sealed(path, value)
    assert read_json(path) == value
    assert is_sealed(path)
    path.write_text(json.dumps(json.loads(path.read_text())))  # laid out anew by some other program
    assert read_json(path) == value
    path.write_text(path.read_text().replace(*changed))
    with pytest.raises(Damaged, match="is not what was written"):
        read_json(path)


def test_an_object_of_a_version_without_hashes_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    assert read_json(tmp_path / "x.json") == {"a": 1}
    assert not is_sealed(tmp_path / "x.json")

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import pytest

from avbench.data.corpus.shards import ShardReader, ShardWriter, member_key, read_member
from avbench.errors import RunError

MEMBERS = {
    "-a b.0.jpg": b"x" * 700,
    "-a b.flac": b"",
    "é日本%2E.json": b"{}",
    f"{'long' * 60}.json": bytes(range(256)) * 2,
}


def written() -> tuple[bytes, dict[str, tuple[int, int]]]:
    buffer = io.BytesIO()
    writer = ShardWriter(buffer)
    places = {name: writer.add(name, data) for name, data in MEMBERS.items()}
    writer.close()
    return buffer.getvalue(), places


def test_a_shard_is_a_tar_any_program_reads() -> None:
    data, _ = written()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        assert {name: handle.read() for name, handle in found.items() if handle} == MEMBERS


def test_offsets_point_at_the_content_and_equal_clips_give_equal_bytes(tmp_path: Path) -> None:
    data, places = written()
    (tmp_path / "0.tar").write_bytes(data)
    reader = ShardReader(tmp_path)
    for name, (offset, size) in places.items():
        assert reader.read("0.tar", offset, size) == MEMBERS[name]
        assert read_member(tmp_path, "0.tar", offset, size) == MEMBERS[name]
    assert written()[0] == data
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.read("0.tar", *places["-a b.0.jpg"]) == MEMBERS["-a b.0.jpg"]


def test_keys_have_no_dot_and_stay_distinct() -> None:
    names = ["a.b", "a%2Eb", "a/b", "a b", "-x", "é"]
    keys = [member_key(name) for name in names]
    assert len(set(keys)) == len(keys)
    assert not any("." in key or "/" in key for key in keys)
    assert keys[3:] == names[3:]


def test_a_missing_or_short_shard_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"short")
    with pytest.raises(RunError, match=r"found 5 of 9 bytes"):
        read_member(tmp_path, "0.tar", 0, 9)
    with pytest.raises(RunError, match=r"1\.tar"):
        read_member(tmp_path, "1.tar", 0, 9)

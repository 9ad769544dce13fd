from __future__ import annotations

import json
from pathlib import Path

import pytest
from video_files import tone, write_video

from avbench.data.prepare.driver import PrepareSettings, prepare
from avbench.data.prepare.verify import verify
from avbench.errors import InputError
from avbench.files import read_json


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_video(tmp_path / "in" / "a.mp4", levels=[50] * 20, sound=tone(1, 440))
    prepare(tmp_path / "in", tmp_path / "out", PrepareSettings(n_frames=3, size=16), workers=1, progress=False)
    return tmp_path / "out"


def test_a_whole_folder_has_no_problems(out: Path) -> None:
    assert verify(out) == []


def change_sound(out: Path) -> None:
    shard = out / "shards" / "000000.tar"
    data = bytearray(shard.read_bytes())
    data[data.index(b"RIFF") + 200] ^= 1
    shard.write_bytes(data)


def cut_shard(out: Path) -> None:
    shard = out / "shards" / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])


def forge_hash(out: Path) -> None:
    described = read_json(out / "prepare.json")
    (out / "prepare.json").write_text(json.dumps(described | {"sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change_sound, "its bytes in shards/000000.tar are not those that were written"),
        (cut_shard, "the shard is damaged"),
        (lambda out: (out / "shards" / "000000.tar").unlink(), "No such file"),
        (lambda out: (out / "manifest.parquet").write_bytes(b"PAR1"), "manifest.parquet cannot be read"),
        (forge_hash, "not what prepare.json says"),
    ],
)
def test_damage_is_found_and_named_in_one_line(out: Path, damage: object, said: str) -> None:
    damage(out)  # type: ignore[operator]
    problems = verify(out)
    assert any(said in line for line in problems)
    assert all("\n" not in line for line in problems)


def test_what_is_no_prepared_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no prepare\.json"):
        verify(tmp_path)

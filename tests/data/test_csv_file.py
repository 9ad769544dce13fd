from __future__ import annotations

from pathlib import Path

import pytest

from avbench.data.annotations.negatives import read_negatives
from avbench.data.corpus.authors_manifest import read_labels
from avbench.data.prepare.source import list_source
from avbench.errors import InputError

BAD = {
    b"v.mp4,caf\xe9\n": ":2: found 'v.mp4'|:2: found 'caf",
    b"v.mp4," + b"x" * 200_000 + b"\n": ":2: cannot be read",
    b'v.mp4,"dog\nw.mp4,cat\n': ":2: cannot be read",
    b'v.mp4,"dog\nw.mp4,cat"\n': ":2: found a cell over several lines",
    b"v.mp4,a\0b\n": ":2: found a NUL",
    b"v.mp4,dog, barking\n": ":2: found 3 cells below 2 columns",
}


@pytest.mark.parametrize("rows", BAD)
def test_what_would_be_misread_is_refused_with_its_line(tmp_path: Path, rows: bytes) -> None:
    (tmp_path / "v.mp4").touch()
    path = tmp_path / "l.csv"
    path.write_bytes(b"file,label\n" + rows)
    with pytest.raises(InputError, match=BAD[rows]) as caught:
        list_source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_wide_text_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "l.csv"
    path.write_bytes("file,label\nv.mp4,x\n".encode(encoding))
    with pytest.raises(InputError, match="save it as UTF-8"):
        list_source(path)


def test_every_reader_is_strict(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_bytes(b'index,mid,display_name\n0,/m/a,"Dog\n1,/m/b,Cat\n')
    with pytest.raises(InputError, match=":2: "):
        read_labels(labels)
    negatives = tmp_path / "negatives.csv"
    negatives.write_bytes(b"video,audio,label\na,b\xe9,non-sounding\n")
    with pytest.raises(InputError, match=":2: "):
        read_negatives(negatives)

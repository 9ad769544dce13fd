"""Settings, YAML, CSV, JSON, XML and paths as nobody should write them: refused in one line, nothing of them acts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from refusal import RUN, refuse

DIGITS = "9" * 5000
LONG = "n" * 300
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
SETS = {
    "train.steps=2001-99-99": "train.steps: found '2001-99-99', valid: a whole number",
    "train.steps=!!int x": "found the tag !!int",
    "train.steps=!!python/object/apply:os.getcwd []": "found the tag !!python/object/apply:os.getcwd",
    f"train.steps={DIGITS}": "whole numbers below",
    f"train.steps={'[' * 3000}": "train.steps: found '[[[",
    f"train.steps={'[' * 60}1{']' * 60}": "nested more than 50 deep",
    "train.steps=*a": "found *a, valid: a name that &a gave before",
    "train.steps={a: 1, a: 2}": "found 'a' a second time",
    "train.steps={[a]: 1}": "a list or mapping as a key",
    "train.steps=.nan": "train.steps: found nan",
    "train.lr=.inf": "train.lr: found inf",
    "train.steps=5\n--- 6": "a second document",
    "method={1: 2}": "found a section",
    "method.={}": "method.",
    "=1": "--set",
    ".lambda_c=1": "--set",
    "input.image_mean=[1, 2]": "found 2 values, valid: 3",
    "train.betas=[0.9, 1.0]": "below 1",
    "task.annotations=": "found nothing after '='",
    "data.labels=a\0b": "data.labels: found a NUL",
    'data.labels="a\\0b"': "data.labels: found a NUL",
    f"data.source={'s' * 5000}": "too long",
    "model.embed_dim=100000000000": "at most 65536",
    "model.modality_depth=1000000": "at most 1000",
}
YAML = {
    "bomb": (BOMB, "more than 1000000 values, with those that aliases repeat"),
    "brackets": ("[" * 3000, "not YAML"),
    "date": ("train:\n  steps: 2001-99-99\n", "train.steps: found '2001-99-99'"),
    "program": (
        "train: !!python/object/apply:os.system [touch ran]\n",
        "found the tag !!python/object/apply:os.system",
    ),
    "digits": (f"train:\n  steps: {DIGITS}\n", "line 2: found 9999"),
    "keys": ("? [a]\n: 1\n", "a list or mapping as a key"),
    "twice": ("train: {steps: 1}\ntrain: {lr: 1}\n", "line 2: found 'train' a second time (first in line 1)"),
    "documents": ("a: 1\n---\nb: 2\n", "a second document"),
    "latin": (b"train: caf\xe9\n", "valid: YAML in UTF-8"),
    "surrogate": ('train: "\\ud800"\n', "not YAML"),
    "control": ('"\\e[2J": 1\n', r"\x1b[2J"),
    "itself": ("a: &a [*a]\n", "found *a"),
    "empty": ("", "found nothing"),
}
SECTIONS = {
    "config": [*RUN, "--config", "x.yaml"],
    "sweep": ["sweep", "x.yaml", "--dry-run"],
    "cluster": [*RUN, "--launcher", "slurm", "--cluster", "x.yaml"],
}
PROFILES = {
    f"time: '{DIGITS}'": "time: found",
    "time: 1:30:00": "time: found the number",
    'partition: "a\\n#SBATCH --uid=0"': r"partition: found 'a\n#SBATCH",
    'extra: ["mail-type=FAIL\\nrm"]': "extra: found",
    'account: "\\e[2J"': "account: found",
    "nodes: -1": "nodes: found -1",
    "setup: 5": "setup: found 5",
}
CSVS = {
    "latin": (b"file,label\na.mp4,caf\xe9\n", r"x.csv:2: found 'caf\xe9', which is not UTF-8"),
    "a long field": (b"file,label\na.mp4," + b"x" * 200_000, "x.csv:2: cannot be read (field larger than"),
    "a long header": (b"x" * 200_000 + b",label\n", "x.csv:1: cannot be read (field larger than"),
    "an open quote": (b'file,label\na.mp4,"dog\nb.mp4,cat\n', "an unclosed quote?"),
    "NUL": (b"file,label\na\0.mp4,x\n", "x.csv:2: found a NUL"),
    "UTF-16": ("file,label\na.mp4,x\n".encode("utf-16"), "found UTF-16 or UTF-32 text"),
    "no columns": (b"", "found the columns (none)"),
    "50,000 columns": (",".join(f"c{i}" for i in range(50_000)).encode() + b"\n", "found the columns c0, c1"),
    "a column twice": (b"file,file\na,b\n", "the column 'file' twice"),
    "too many cells": (b"file,label\na,b,c\n", "found 3 cells below 2 columns"),
    "a long name": (b"file,label\n" + b"n" * 5000 + b".mp4,x\n", "none of its 1 files exists"),
    "an id twice": (b"file,label,id\na.mp4,x,q\nb.mp4,x,q\n", "the id 'q' for several files"),
    "control characters": (b"file,label,split\na.mp4,x,\x1b[2J\n", r"found split '\x1b[2J'"),
}
CLIP = {"video_id": "a", "wav": "a.wav", "video_path": ".", "labels": "x"}
MANIFESTS = {
    "open": ("{", "not JSON"),
    "nested": ("[" * 100_000, "not JSON"),
    "digits": (f'{{"data": [1{DIGITS}]}}', "not JSON"),
    "a list": ("[]", "no 'data' at the top"),
    "numbers": ('{"data": [{"video_id": 5}]}', "entry 0 has 'video_id' 5"),
    "NUL": (json.dumps({"data": [CLIP | {"wav": "a\0"}]}), "with a NUL"),
    "half a sign": ('{"data": [' + json.dumps(CLIP | {"video_id": "\ud800"}) + "]}", "has 'video_id'"),
    "half a sign in a label": ('{"data": [' + json.dumps(CLIP | {"labels": "\ud800"}) + "]}", "has 'labels'"),
    "long": (json.dumps({"data": [CLIP | {"wav": "w" * 5000}]}), "has 'wav' of 5000 characters"),
    "control": (json.dumps({"data": [CLIP | {"wav": "\x1b[2J.wav"}]}), r"\x1b[2J.wav"),
}
BOX = '[{"file": "c0", "class": "x", "bbox": %s}]'
BOXES = {
    "text": (BOX % '"x"', "found 'x', valid: boxes of four numbers"),
    "infinite": (BOX % "[[0, 0, 1e999, 1]]", "valid: boxes of four numbers"),
    "digits": (BOX % f"[[0, 0, 1{'0' * 400}, 1]]", "valid: boxes of four numbers"),
    "true": (BOX % "[[true, true, true, true]]", "valid: boxes of four numbers"),
    "three": (BOX % "[[0, 0, 1]]", "valid: boxes of four numbers"),
    "nested": (BOX % ("[" * 90_000), "cannot be read as JSON"),
    "NaN": (BOX % "[[NaN, 0, 1, 1]]", "valid: boxes of four numbers"),
}
XML_BOX = "<l><o><bbox><n/><x>%s</x><y>1</y><x>9</x><y>9</y></bbox></o></l>"
LAUGHS = "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefg", "bcdefgh", strict=True))
XMLS = {
    "entities that grow": (f'<!DOCTYPE l [<!ENTITY a "1">{LAUGHS}]>{XML_BOX % "&h;"}', "found the document type l"),
    "a file": (f'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>{XML_BOX % "&x;"}', "found the document type l"),
    "an address": (f'<!DOCTYPE l SYSTEM "http://x.invalid/x.dtd">{XML_BOX % "1"}', "found the document type l"),
    "nested": ("<a>" * 100_000, "cannot be read"),
    "an unknown encoding": ('<?xml version="1.0" encoding="none"?><l/>', "unknown encoding"),
    "digits": (XML_BOX % DIGITS, "cannot be read"),
    "beyond numbers": (XML_BOX % ("9" * 400), "valid: boxes of four numbers"),
    "two edges": ("<l><o><bbox><n/><x>1</x><y>1</y></bbox></o></l>", "valid: boxes of four numbers"),
}
MAPS = ["evaluate", "--task", "localization", "--heatmaps", "maps.npz", "--annotations"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("a.mp4", "b.mp4"):
        Path(name).write_bytes(b"no video")
    np.savez("maps.npz", id=np.array(["c0"]), map=np.ones((1, 7, 7), np.float32))
    return tmp_path


@pytest.mark.parametrize("text", SETS)
def test_a_setting(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse([*RUN, "--set", text], SETS[text], capsys, here)


@pytest.mark.parametrize("command", SECTIONS)
@pytest.mark.parametrize("row", YAML)
def test_yaml(row: str, command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, expected = YAML[row]
    (here / "x.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    if row == "date" and command != "config":
        expected = "unknown key 'train'"
    refuse(SECTIONS[command], expected, capsys, here)


@pytest.mark.parametrize("text", PROFILES)
def test_a_cluster_profile(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.yaml").write_text(text + "\n")
    refuse(SECTIONS["cluster"], PROFILES[text], capsys, here)


@pytest.mark.parametrize("row", CSVS)
def test_a_list_of_videos(row: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.csv").write_bytes(CSVS[row][0])
    refuse(["data", "prepare", "x.csv", "--out", "out"], CSVS[row][1], capsys, here)


@pytest.mark.parametrize("row", MANIFESTS)
def test_a_manifest(row: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.json").write_text(MANIFESTS[row][0])
    refuse(["data", "stats", "x.json"], MANIFESTS[row][1], capsys, here)


@pytest.mark.parametrize("row", BOXES)
def test_boxes(row: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.json").write_text(BOXES[row][0])
    refuse([*MAPS, "x.json"], BOXES[row][1], capsys, here)


@pytest.mark.parametrize("row", XMLS)
def test_boxes_in_xml(row: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "boxes").mkdir()
    (here / "boxes" / "c0.xml").write_text(XMLS[row][0])
    refuse([*MAPS, "boxes"], XMLS[row][1], capsys, here)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ([*RUN, "--results"], "--results"),
        ([*RUN, "--config"], "--config"),
        ([*RUN, "--checkpoint"], "--checkpoint"),
        (["evaluate", "--features"], "--features"),
        (MAPS, "--annotations"),
        (["checkpoint", "inspect"], "--file"),
        (["data", "prepare", ".", "--out"], "--out"),
    ],
)
@pytest.mark.parametrize(
    ("path", "expected"), [("a\0b", "with a NUL"), (LONG, "with a name of 300"), ("a/" * 3000, "of 5999 characters")]
)
def test_a_path(
    path: str, expected: str, words: list[str], option: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert option in refuse([*words, path], expected, capsys, here)


@pytest.mark.parametrize("words", [[*RUN, "--data"], [*RUN, "--init"], ["sweep"]])
def test_a_name_of_a_file_that_is_too_long(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse([*words, LONG], "found a name that is too long", capsys, here)


@pytest.mark.parametrize("kind", ["folder", "device", "pipe", "loop"])
@pytest.mark.parametrize("words", [["evaluate", "--features"], ["checkpoint", "inspect"], [*RUN, "--checkpoint"]])
def test_what_is_no_file(kind: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "x.npz"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    name = "/dev/null" if kind == "device" else "x.npz"
    refuse([*words, name], "found a folder" if kind == "folder" else "no such file", capsys, here)


@pytest.mark.parametrize("name", ["../../x", "a/b", ".", "..", ".x", "/abs", "a\nb", "a\\b", LONG, "\x1b[31m"])
def test_the_name_of_a_sweep(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(["sweep", "lambda_c", "--dry-run", "--name", name], "--name: found", capsys, here)

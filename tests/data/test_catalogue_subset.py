"""Evaluated clips restricted to a list."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from labelled_clips import LabelledClips

from avbench.data.catalogue.entry import entry
from avbench.data.catalogue.subset import read_subset, subset_ids
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.running.plan import make_plan
from avbench.running.request import Request, resolve

IDS = ["-a_000001", "b_c", "v1.2"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids.txt", "-a_000001\n\n# a comment\nb_c\nv1.2\nb_c\n"),
        ("ids.txt", "-a_000001.mp4\r\nb_c.jpg\r\nv1.2\r\n"),
        ("ids.csv", "label,id\nx,-a_000001\nx,b_c\nx,v1.2\n"),
        ("ids.csv", 'video_id,sentence\n-a_000001,"a, b"\nb_c,\nv1.2,d\n'),
        ("ids.csv", "-a_000001.mp4,dog\nb_c.mp4,cat\nv1.2,cow\n"),  # the field's own, without a header
        ("ids.csv", "-a_000001\nb_c\nv1.2\n"),
        ("ids.json", json.dumps({"data": [{"video_id": id, "wav": "x"} for id in IDS]})),
        ("ids.json", json.dumps(IDS)),
        ("ids", "\ufeff-a_000001\nb_c\nv1.2"),
    ],
)
def test_a_list_of_ids_in_any_usual_form(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_subset(str(path), "anything", tmp_path) == IDS


@pytest.mark.parametrize(
    ("name", "text"),
    [("ids.txt", "\n# nothing\n"), ("ids.json", "{"), ("ids.json", '{"ids": []}'), ("ids.json", "[1]"), ("e.csv", "")],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"data\.subset") as caught:
        read_subset(str(tmp_path / name), "anything", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_named_subset_needs_a_set_that_has_it_and_the_right_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 'retrieval', no such file"):
        read_subset("retrieval", str(tmp_path), tmp_path)
    (tmp_path / "catalogue.json").write_text(json.dumps({"name": "msrvtt", "lists": [str(tmp_path / "gone" / "x")]}))
    with pytest.raises(InputError, match=r"MSRVTT_JSFUSION_test\.csv"):
        read_subset("retrieval", str(tmp_path), tmp_path)
    with pytest.raises(InputError, match=r"unknown subset of msrvtt 'retreival'\. Did you mean 'retrieval'"):
        read_subset("retreival", str(tmp_path), tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("video_id,sentence\nvideo1,a\n")
    with pytest.raises(InputError, match=r"found 1 clips with the hash .*, valid: 1000"):
        read_subset("retrieval", str(tmp_path), tmp_path)


def test_a_named_subset_is_found_beside_the_clips_or_their_list(shared: Path, tmp_path: Path) -> None:
    lists = shared / "data" / "annotations" / "vggsound"
    account = {"name": "vggsound", "lists": [str(lists / "test.csv")]}
    (tmp_path / "catalogue.json").write_text(json.dumps(account))
    ids = read_subset("retrieval", "vggsound", tmp_path)
    assert len(ids) == 1545
    assert hash_ids(ids) == entry("vggsound").subsets["retrieval"].ids_sha256
    assert subset_ids(entry("vggsound"), "retrieval", [lists]) == ids


class Split(LabelledClips):
    """Twelve clips for training, then eight to test on."""

    def __init__(self, indices: Sequence[int] = range(20)) -> None:
        super().__init__(0, indices=indices)

    @property
    def splits(self) -> list[str]:
        return ["train" if i < 12 else "test" for i in self._indices]

    def select(self, indices: Any) -> Any:
        return Split([self._indices[i] for i in indices])


def plan(results: Path, subset: str, task: str = "retrieval", *sets: str) -> Any:
    settings = (*([f"data.subset={subset}"] if subset else []), "train.batch_size=4", "train.steps=1", *sets)
    config = resolve(Request(method="cavmae", task=task, presets=("soundshapes",), sets=settings))
    return make_plan(config, Split(), results)  # type: ignore[arg-type]


def test_only_the_evaluation_is_of_the_listed_clips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed, same = tmp_path / "ids.txt", tmp_path / "again.json"
    listed.write_text("clip015\nclip013\nclip000\ngone\n")  # of the training split, and of none
    same.write_text(json.dumps(["clip013", "clip015"]))
    whole, part = plan(tmp_path, ""), plan(tmp_path, str(listed))
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        again = plan(tmp_path, str(same))
        assert not caplog.messages
        plan(tmp_path, str(listed), "shuffled_pairs", "task.label=''")
        assert caplog.messages == [f"data.subset: 2 of the 4 clips of '{listed}' are here"]
    assert part.evaluated.ids == ["clip013", "clip015"]
    assert part.train.ids == whole.train.ids
    assert part.pretrain.id == whole.pretrain.id
    assert part.evaluation.id == again.evaluation.id != whole.evaluation.id


def test_a_list_of_other_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("clip000\nother\n")
    with pytest.raises(InputError, match=r"found none of the 2 clips of '.*ids.txt', valid: .*'clip012'"):
        plan(tmp_path, str(tmp_path / "ids.txt"))

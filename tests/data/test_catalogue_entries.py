"""The catalogue against the field's own label and split files."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.data.catalogue.entry import entry, names
from avbench.data.catalogue.join import find_lists
from avbench.data.catalogue.rows import READERS, read_rows
from avbench.data.catalogue.subset import subset_ids
from avbench.data.catalogue.text import describe
from avbench.errors import InputError

LISTED = {  # where the shared folder has a list of the set, and how many clips of each split that one has
    "ade20k-sound": None,
    "audioset-20k": ("audioset", {"train": 22160, "test": 20371}),
    "audioset-2m": ("audioset", {"train": 22160, "test": 20371}),  # the unbalanced list is not there
    "audioset-eval": ("audioset", {"test": 20371}),
    "ave": ("ave", {"": 4097}),  # 4,143 rows: 45 videos occur more than once
    "avsbench-ms3": None,
    "avsbench-s4": ("avsbench", {"test": 3700}),
    "esc50": None,
    "fsd50k": None,
    "ucf101": None,
    "flickr-soundnet": ("flickr_soundnet", {"test": 250}),
    "is3": ("is3", {"test": 6480}),
    "kinetics-sounds": ("kinetics_sounds", {"train": 17396, "test": 1320}),
    "msrvtt": ("msrvtt", {"test": 1000}),
    "soundshapes": None,
    "soundshapes-2": None,
    "vggsound": ("vggsound", {"test": 15446}),
    "vggsounder": ("vggsounder", {"test": 12014}),
    "vggss": ("vggss", {"test": 5158}),
}


@pytest.fixture(scope="session")
def annotations(shared: Path) -> Path:
    return shared / "data" / "annotations"


def column(path: Path, name: str) -> list[str]:
    with path.open(newline="", encoding="utf-8") as handle:
        return [row[name] for row in csv.DictReader(handle)]


@pytest.mark.parametrize("name", LISTED)
def test_an_entry_says_all_that_a_user_needs(name: str) -> None:
    found = entry(name)
    for field in ("title", "summary", "obtain", "licence", "folder", "id", "source", "metric"):
        assert getattr(found, field), field
    assert found.tasks
    assert found.official or name == "ade20k-sound"  # whose count nobody states
    assert found.traps
    assert all(which.format in READERS for which in (*found.lists, *found.subsets.values()))
    assert len(set(found.class_names)) == len(found.classes) == len({id for id, _ in found.classes})
    assert all(re.fullmatch("[0-9a-f]{64}", subset.ids_sha256) for subset in found.subsets.values())


@pytest.mark.parametrize("name", ["vggsound", "audioset-20k", "audioset-2m", "audioset-eval"])
def test_copies_on_the_hub_come_with_what_is_wrong_with_them(name: str) -> None:
    shown = describe(entry(name))
    assert re.search(r"^mirrors +[\w-]+/\w+ on the Hugging Face Hub", shown, re.MULTILINE)
    assert re.search(r"\d\d,\d{3} of|\d{3},\d{3} of", " ".join(shown.split()))  # how many clips are there


def test_the_catalogue_is_complete() -> None:
    assert list(names()) == sorted(LISTED)


@pytest.mark.parametrize("name", [name for name, found in LISTED.items() if found])
def test_every_official_list_reads(annotations: Path, name: str) -> None:
    folder, expected = LISTED[name] or ("", {})
    found = entry(name)
    rows = read_rows(found, find_lists(found, annotations, [annotations / folder]))
    assert Counter(row.split for row in rows.values()) == expected
    labels = {label for row in rows.values() for label in row.labels}
    if found.classes and name != "vggss":
        assert labels == set(found.class_names)
    assert found.multi_label == (max(len(row.labels) for row in rows.values()) > 1)
    for split, count in expected.items():
        if split and not (name == "audioset-2m" and split == "train"):
            assert found.official[split] == count


def test_class_names_are_in_the_official_order(annotations: Path) -> None:
    audioset = annotations / "audioset" / "class_labels_indices.csv"
    assert entry("audioset-20k").classes == tuple(
        zip(column(audioset, "mid"), column(audioset, "display_name"), strict=True)
    )
    written = column(annotations / "vggsound" / "class_labels_indices_vgg.csv", "display_name")
    official = entry("vggsound").class_names
    assert official == tuple(column(annotations / "vggsounder" / "classes.csv", "display_name"))
    assert [name.replace(",", "_") for name in official] == written
    actions = json.loads((annotations / "kinetics_sounds" / "KS.json").read_text())["labels"]
    assert list(entry("kinetics-sounds").class_names) == [name.replace("_", " ") for name in actions]


def test_the_23_names_with_underscores_are_the_official_ones(annotations: Path) -> None:
    found = entry("vggsound")
    path = annotations / "vggsound" / "class_labels_indices_vgg.csv"
    pairs = list(zip(column(path, "mid"), column(path, "display_name"), strict=True))
    assert sum("_" in name for _, name in pairs) == 23
    assert all(found.class_name(name) == found.class_name(mid) for mid, name in pairs)
    with pytest.raises(InputError, match=r"unknown class of vggsound 'dog barkin'\. Did you mean 'dog barking'"):
        found.class_name("dog barkin")


def test_vggss_has_221_classes_of_vggsound(annotations: Path) -> None:
    found = entry("vggss")
    rows = read_rows(found, find_lists(found, annotations, [annotations / "vggss" / "vggss.json"]))
    assert len({label for row in rows.values() for label in row.labels}) == 221
    assert any(row.id.startswith("-") for row in rows.values())


@pytest.mark.parametrize(
    ("name", "folder", "count"),
    [("audioset-eval", "audioset", 1725), ("vggsound", "vggsound", 1545), ("msrvtt", "msrvtt", 1000)],
)
def test_the_retrieval_subsets_are_the_papers(annotations: Path, name: str, folder: str, count: int) -> None:
    ids = subset_ids(entry(name), "retrieval", [annotations])
    assert ids == subset_ids(entry(name), "retrieval", [annotations / folder])
    assert len(set(ids)) == count


def test_a_name_that_is_none_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown data set 'vggsond'\. Did you mean 'vggsound'"):
        entry("vggsond")


def test_show_and_list_tell_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "vggsound"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for fact in ("183,727 train, 15,446 test", "vggsound.csv", "1,545 clips", "309", "23 class names"):
        assert fact in text
    assert main(["data", "show", "nothing"]) == 2
    assert main(["list", "data"]) == 0
    listed = capsys.readouterr().out
    assert all(re.search(f"^{name} ", listed, re.MULTILINE) for name in LISTED)
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out == listed


def test_the_list_answers_without_torch() -> None:
    code = (
        "import sys; from avbench.cli import main; main(['list', 'data']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pandas', 'pyarrow', 'av')))"
    )
    start = time.process_time()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    assert time.process_time() - start < 1

"""Recipes: every one resolves, every row and sweep names one that is there, and what is refused and how."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from avbench.cli import main
from avbench.errors import InputError
from avbench.recipes import recipe
from avbench.report.tables import entry, published
from avbench.report.tables.layout import lay_out
from avbench.report.tables.selection import published_row, same
from avbench.running.request import Request, resolve


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_resolves_to_what_it_says(name: str) -> None:
    found = recipe.load(name)
    assert found.summary
    sets = ('train.init="given.pth"',) if found.start is not None else ()
    config = resolve(Request(method=found.method, task="", recipe=name, sets=sets))
    shown = config.to_dict()
    for key, value in found.set.items():
        section, _, leaf = key.partition(".")
        assert shown[section][leaf] == value
    assert config.data.source == (found.data or "soundshapes")
    assert set(found.preset) <= set(config.presets)
    if found.start is None:
        assert (config.train.init or "none") == found.weights


def test_a_recipe_is_the_same_as_its_preset_and_settings() -> None:
    named = resolve(Request(method="cavmae", recipe="cavmae/lambda-0.1"))
    sets = ("train.epochs=12", "method.lambda_c=0.1")
    typed = Request(method="cavmae", data="audioset-2m", presets=("pretrain-audioset-base",), sets=sets)
    assert named == resolve(typed)


def test_presets_files_and_settings_lie_over_a_recipe() -> None:
    words = Request(method="cavmae", data=".", recipe="cavmae/scale+", presets=("tiny",), sets=("train.epochs=2",))
    config = resolve(words)
    assert (config.model.embed_dim, config.train.batch_size, config.train.epochs) == (96, 108, 2)
    assert config.data.source == "."


def test_a_recipe_may_go_on_from_another() -> None:
    found = recipe.load("cavmae/vggsound-after-audioset")
    assert [each.name for each in found.chain] == ["cavmae/scale+", "cavmae/vggsound-after-audioset"]
    assert found.weights == "imagenet-mae"  # of the first; the preset's own are the released ones
    with pytest.raises(InputError, match=r"found no weights of recipe cavmae/scale\+, which it starts from"):
        resolve(Request(method="cavmae", task="", recipe=found.name))


# What columns of the published numbers say of a model's training, by the settings of the same meaning.
STATED = {
    "pretrain_init": "train.init",
    "lambda_c": "method.lambda_c",
    "masking_ratio": "method.masking_ratio",
    "masking_strategy": "method.masking_strategy",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
}
WEIGHTS = {"IN SSL": "imagenet-mae", "IN SL": "imagenet-mae-finetuned", "none": "none"}
GPUS = 4  # each of which contrasts its own share of a batch (paper Table 4)


def stated(number: published.Number | None) -> dict[str, Any]:
    """What the paper states of the training behind a published number."""
    found: dict[str, Any] = {}
    for column, key in STATED.items() if number is not None else ():
        text = number.row.get(column, "") if number is not None else ""
        if column == "pretrain_init":
            found |= {key: WEIGHTS[text]} if text in WEIGHTS else {}
        elif text:
            found[key] = text.replace("-", "_") if column == "masking_strategy" else float(text)
    if found.get("method.masking_strategy", "uniform") != "uniform":
        found["method.masking_form"] = "reference"
    if number is not None and number.row["paper"] == "cavmae" and "train.batch_size" in found:
        found["train.accumulate"] = GPUS
    return found


def rows() -> list[Any]:
    """Every row of the tables that a record can fill on the paper's data, with its layout."""
    found = []
    for name in entry.names():
        layout = lay_out(entry.load(name), None)
        found += [(layout, row) for row in layout.rows if (row.method or row.spans) and not row.control]
    return [each for each in found if each[0].entry.kind == "records"]


def test_every_row_names_a_recipe_that_says_what_the_paper_states_and_the_row_asks_for() -> None:
    checked = 0
    for layout, row in rows():
        if layout.entry.id == "table_vggsounder":  # which judges a run of any weights
            continue
        if row.method:
            assert row.recipe, (layout.entry.id, row.stub)
        for column in range(len(layout.columns)):
            query = layout.query(row, column)
            if query is None:
                continue
            whole = published_row(query)
            bare = published_row(dataclasses.replace(query, where={}))
            untrained = query.where.get("weights") == "untrained"
            for key, value in {**stated(layout.number(row, column)), **query.where}.items():
                if (key, value) in (("method.lambda_c", 0), ("method.masking_strategy", "uniform")) and key not in bare:
                    continue  # what a method without such an option does
                if key.startswith(("method.", "train.", "input.")) and not (untrained and key.startswith("train.")):
                    assert same(bare[key], value), (layout.entry.id, row.stub, key, bare[key], value)
                    checked += 1
            assert untrained or whole["model.embed_dim"] == 768
            presets = query.where.get("presets")
            assert presets is None or presets in recipe.load(query.recipe).preset
    assert checked > 100


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"metod": "cav"}, "unknown key 'metod'. Did you mean 'method'"),
        ({"set": {"train.lrr": 1}}, "unknown key 'train.lrr'. Did you mean 'lr'"),
        ({"set": {"trian.lr": 1}}, "unknown key 'trian.lr'. Did you mean 'train'"),
        ({"set": {"train.lr": "fast"}}, "train.lr: found 'fast'"),
        ({"set": {"train.init": "x"}}, "valid: the key init"),
        ({"set": [1]}, "set: found [1] (a list), valid: a mapping"),
        ({"preset": "tinny"}, "unknown preset 'tinny'. Did you mean 'tiny'"),
        ({"init": "imagnet-mae"}, "Did you mean 'imagenet-mae'"),
        ({"init": {"set": {"train.steps": -1}}}, "recipe.init: train.steps: found -1"),
        ({"data": 3}, "data: found 3"),
        ({"from": "cavmae/bas"}, "Did you mean 'cavmae/base'"),
        ({"from": "cavmae/lambda-0.1"}, "which extends another"),
        ("cavmae/bas", "unknown recipe 'cavmae/bas'. Did you mean 'cavmae/base'"),
        (3, "found 3 (a whole number), valid: a mapping of summary, from"),
    ],
)
def test_what_is_no_recipe_is_refused_with_file_and_key(values: Any, told: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe.read(values, "s.yaml: recipe")
    assert told in str(caught.value)
    assert str(caught.value).startswith("s.yaml: recipe")
    assert "\n" not in str(caught.value)


def test_one_that_extends_changes_settings_one_by_one() -> None:
    found = recipe.read({"from": "cavmae/scale+", "set": {"train.epochs": 2}}, "here")
    assert (found.method, found.data, dict(found.set)) == ("cavmae", "audioset-2m", {"train.epochs": 2})
    base = recipe.read({"from": "cavmae/base", "set": {"method.lambda_c": 1.0}}, "here")
    assert dict(base.set) == {"train.epochs": 12, "method.lambda_c": 1.0}


def test_the_command_line_takes_the_method_from_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--dry-run", "--format", "json", "--results", str(tmp_path / "results")]
    assert main(["run", "--recipe", "soundshapes/cav", "--task", "retrieval", *rest]) == 0
    named = json.loads(capsys.readouterr().out)
    assert main(["run", "--method", "cav", "--task", "retrieval", *rest]) == 0
    assert json.loads(capsys.readouterr().out) == named
    assert main(["grid", "--recipe", "soundshapes/cav", *rest]) == 0
    assert json.loads(capsys.readouterr().out) == named
    assert main(["grid", "--recipe", "soundshapes/{method}", "--methods", "cav", *rest]) == 0
    assert json.loads(capsys.readouterr().out) == named
    assert main(["pretrain", "--recipe", "soundshapes/cav", "--dry-run", "--results", str(tmp_path / "results")]) == 0
    assert "320 steps of 64 clips" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--recipe", "cavmae/bas"], "unknown recipe 'cavmae/bas'. Did you mean 'cavmae/base'"),
        (["run", "--method", "cav", "--recipe", "cavmae/base"], "recipe cavmae/base: found method cav, valid: cavmae"),
        (["grid", "--methods", "cav", "cavmae", "--recipe", "cavmae/base"], "found method cav, valid: cavmae"),
        (["run"], "--method: found nothing, valid: one or more values, --encoder FILE.py:Class or --recipe NAME"),
        (["pretrain", "--recipe", "cavmae/vggsound-after-audioset", "--data", "soundshapes"], "valid: --init FILE"),
    ],
)
def test_the_command_line_refuses_other_names(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--results", str(tmp_path / "results")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe.names()


@pytest.mark.parametrize("name", ["round/a", "round/b", "round/c"])
def test_weights_that_come_from_each_other_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "round.yaml").write_text(
        "a: {method: cav, data: soundshapes, init: round/b}\n"
        "b: {method: cav, data: soundshapes, init: round/a}\n"
        "c: {from: round/a}\n"
    )
    monkeypatch.setattr(recipe, "FOLDER", tmp_path)
    recipe.names.cache_clear()
    try:
        with pytest.raises(InputError, match=r"round\.yaml: .\.init: found round/., valid: a recipe whose chain has"):
            recipe.load(name)
    finally:
        recipe.names.cache_clear()

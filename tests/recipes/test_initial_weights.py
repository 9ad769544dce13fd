"""Initial weights by name: where they are looked for, and what is said where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from avbench.cli import main
from avbench.errors import InputError
from avbench.launch.sweep.config import find, names
from avbench.recipes import initial_weights, presets, recipe
from avbench.recipes.initial_weights import known, locate, name_of
from avbench.running.request import Request, resolve


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path))
    return tmp_path


def test_a_name_is_its_file_in_the_cache_and_else_says_what_to_get_and_where(cache: Path) -> None:
    with pytest.raises(InputError) as caught:
        locate("imagenet-mae")
    message = str(caught.value)
    assert "\n" not in message
    for words in ("mae_pretrain_vit_base_full.pth", "facebookresearch/mae", str(cache / "weights"), "--init FILE"):
        assert words in message
    for file in ("ori_mae_11.pth", "mae_pretrain_vit_base_full.pth"):  # the latter goes before, as it fits every method
        (cache / "weights").mkdir(exist_ok=True)
        (cache / "weights" / file).touch()
        assert locate("imagenet-mae") == str(cache / "weights" / file)
    assert locate("imagenet-mae-encoder") == "timm:vit_base_patch16_224.mae"
    assert locate("some/file.pth") == "some/file.pth"


def test_a_usual_file_and_timms_name_have_the_name() -> None:
    assert name_of("/anywhere/mae_finetuned_vit_base.pth") == "imagenet-mae-finetuned"
    assert name_of("timm:vit_base_patch16_224.mae") == "imagenet-mae-encoder"
    assert name_of("timm:vit_base_patch16_224.augreg_in1k") == ""
    # Of raw pixels, and another training: not what the paper starts from.
    assert name_of("mae_visualize_vit_base.pth") == ""


def test_tables_presets_and_sweeps_start_from_the_exact_weights() -> None:
    """The encoder alone is named by no recipe; every training of a row says what it starts from."""
    for name in presets.names():
        init = presets.load(name).get("train", {}).get("init")
        assert (init is not None) == name.startswith("pretrain-"), name
        assert init is None or known()[init].exact
    for name in recipe.names():
        each = recipe.load(name)
        supervised = name == "cavmae/imagenet-supervised"  # Table 11's; what became of its last norm is not stated
        assert each.weights == "none" or supervised or known()[each.weights].exact, name
        assert not each.data.startswith("audioset") or each.weights == "imagenet-mae" or name == "cavmae/random-init"
    for name in names():
        text = find(name).read_text()
        assert "timm:" not in text
        assert yaml.safe_load(text)
    for name in ("audio_segment", "registers"):
        assert yaml.safe_load(find(name).read_text())["on_data"]["audioset-20k"]["recipe"] == "sync/released"


def test_none_goes_over_a_presets_weights() -> None:
    words = Request(method="cavmae", data=".", presets=("pretrain-audioset-base",), sets=('train.init=""',))
    assert resolve(words).train.init == ""


def test_the_list_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(initial_weights.known())


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["pretrain", "--method", "cavmae", "--init", "imagenet-mea", "--results", str(tmp_path / "results")]
    assert main(words) == 2
    assert "imagenet-mae, imagenet-mae-encoder, imagenet-mae-finetuned" in capsys.readouterr().err

"""Methods from outside the package: what they define is what is used, and what is edited is computed again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.cavmae import CARD, CavMae, CavMaeConfig
from avbench.methods.encoder import Encoder
from avbench.registry import contract
from avbench.registry.outside import outside
from avbench.store.records import all_records

SETS = ["data.train_clips=16", "data.test_clips=12", "train.batch_size=8", "train.steps=2", "train.workers=0"]
PLUG_IN = """
from avbench.methods.base import Card
from avbench.methods.cavmae import CONFIG, CavMae

CARD = Card(
    summary="mine",
    modalities=("audio", "visual"),
    objectives=("contrast",),
    abilities=("embeddings", "vectors"),
)


class Mine(CavMae):
    def forward(self, audio, visual, noise):
        return super().forward(audio, visual, noise)

    def embed(self, audio, visual):
        sound, _ = super().embed(audio, visual)
        return sound, sound


METHOD = Mine
"""


def install(folder: Path, text: str, other: str = "") -> None:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "__init__.py").write_text(other)
    (folder / "mine" / "method.py").write_text(text)
    info = folder / "mine-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avbench.methods]\nmine = mine.method\n")


def test_what_is_edited_is_computed_again_and_embed_is_what_retrieval_uses(tmp_path: Path) -> None:
    results, cache = tmp_path / "results", tmp_path / "cache"
    words = ["run", "--method", "mine", "--task", "retrieval", "--results", str(results), "--set", *SETS]

    def run() -> dict[str, float]:
        before = {record["id"] for record in all_records(results)}
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AVBENCH_CACHE": str(cache)}
        answer = subprocess.run(
            [sys.executable, "-m", "avbench", *words], env=environment, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        new = [r for r in all_records(results) if r["id"] not in before and r["weights"] == "pretrained"]
        assert all(record["plug_ins"].keys() == {"mine"} for record in new)
        return new[0]["metrics"] if new else {}

    def stages(name: str) -> int:
        return len(list((results / "stages" / name).glob("[!.]*")))

    install(tmp_path, PLUG_IN)
    assert run()["a2v/R@1"] == 1
    assert run() == {}  # nothing changed, nothing computed
    trained, extracted = stages("pretrain"), stages("vectors")
    # Retrieval reads no joint stream, but which vectors another's method gives is its own affair: all are kept.
    assert len(list((results / "stages" / "vectors").glob("*/joint.npy"))) == extracted
    install(tmp_path, PLUG_IN.replace("return sound, sound", "return super().embed(audio, visual)"))
    assert run()["a2v/R@1"] < 1
    assert stages("vectors") > extracted
    trained = stages("pretrain")
    install(
        tmp_path, PLUG_IN.replace("super().forward(audio, visual, noise)", "super().forward(audio * 2, visual, noise)")
    )
    assert run()
    assert stages("pretrain") > trained


def test_the_source_is_that_of_all_files_a_module_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "avtest_base.py").write_text("class Base: pass\n")
    (tmp_path / "avtest_help.py").write_text("def help(): pass\n")
    (tmp_path / "avtest_mine").mkdir()
    (tmp_path / "avtest_mine" / "__init__.py").write_text("")
    (tmp_path / "avtest_mine" / "unused.py").write_text("")
    (tmp_path / "avtest_mine" / "method.py").write_text(
        "import json, torch\nfrom avtest_base import Base\nfrom avtest_help import help\nclass Mine(Base): pass\n"
    )
    module = importlib.import_module("avtest_mine.method")
    before = outside(module)
    assert before.keys() == {"avtest_base", "avtest_help", "avtest_mine"}
    for path, name in (("avtest_base.py", "avtest_base"), ("avtest_mine/unused.py", "avtest_mine")):
        (tmp_path / path).write_text("x = 1\n")
        after = outside(module)
        assert {each for each in after if after[each] != before[each]} == {name}
        before = after


def test_the_packages_own_methods_have_no_source_in_their_ids() -> None:
    from avbench import registry

    assert all(entry.sources == {} for kind in ("method", "task") for entry in registry.entries(kind).values())  # type: ignore[arg-type]


class OnlyEmbed(CavMae):
    def embed(self, audio, visual):  # type: ignore[no-untyped-def]
        return super().embed(audio, visual)


class OwnEncoder(Encoder):
    def encode(self, name, tokens):  # type: ignore[no-untyped-def]
        return tokens


class WithOwnEncoder(CavMae):
    def __init__(self, config, model, input, *, seed=0):  # type: ignore[no-untyped-def]
        super().__init__(config, model, input, seed=seed)
        self.encoder = OwnEncoder(model, input)


class TooFew(CavMae):
    def forward(self, audio, visual):  # type: ignore[no-untyped-def]
        return super().forward(audio, visual, None)


class NoTokens(CavMae):
    local_tokens = None  # type: ignore[assignment]


class OneModality(CavMae):
    modalities = ("audio",)


class OtherName(CavMae):
    name = "other"


_CARD = {"modalities": CARD.modalities, "abilities": CARD.abilities, "objectives": CARD.objectives}


def test_a_subclass_that_embeds_otherwise_is_named_and_known() -> None:
    contract.check("mine", OnlyEmbed, _CARD)
    assert OnlyEmbed.name == "mine"
    assert CavMae.name == "cavmae"
    assert contract._owner(OnlyEmbed, "embed") is not contract._owner(OnlyEmbed, "vectors")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (TooFew, "TooFew.forward: too many positional arguments"),
        (NoTokens, "CARD lists ability patch_tokens, for which NoTokens does not define local_tokens"),
        (OneModality, "CARD has modalities audio, visual, OneModality has audio"),
        (OtherName, "name: found 'other', valid: 'mine'"),
        (lambda *_: None, "valid: a subclass of avbench.methods.base.Method"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_refused(found: object, words: str) -> None:
    with pytest.raises(InputError) as error:
        contract.check("mine", found, _CARD)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_fine_tuning_refuses_an_encoder_it_would_not_use() -> None:
    sizes = CavMaeConfig(), ModelConfig(), InputConfig()
    with torch.device("meta"):
        CavMae(*sizes).encoder_to_finetune()
        OnlyEmbed(*sizes).encoder_to_finetune()
        with pytest.raises(InputError, match="found a Encoder, which encodes otherwise"):
            WithOwnEncoder(*sizes).encoder_to_finetune()

"""Weights files of other projects: wrapped, prefixed, beside other things, of other methods, or with values missing."""

from __future__ import annotations

import argparse
import re
import struct
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods import avmae, cavmae, cavmae_sync
from avbench.methods.base import Method
from avbench.training.checkpoints import build_from_checkpoint, load_weights
from avbench.training.export import export_published, save_weights
from avbench.training.weights_file import read_checkpoint

MODEL = ModelConfig(
    embed_dim=64,
    num_heads=2,
    modality_depth=1,
    joint_depth=1,
    decoder_embed_dim=32,
    decoder_depth=1,
    decoder_num_heads=1,
)
INPUT = InputConfig(target_length=64, image_size=32)


def make() -> Method:
    return cavmae.METHOD(cavmae.CONFIG(), MODEL, INPUT, seed=1)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        build_from_checkpoint(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_length_of_the_header_is_recognised_and_keeps_the_metadata(tmp_path: Path) -> None:
    save_weights(tmp_path / "own.safetensors", make())
    data = (tmp_path / "own.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    lengths = [size + ((low - size) % 256) for low in range(0, 256, 8)]
    lengths.append(size + ((0x4B50 - size) % 2**16))  # begins with PK, as an archive does
    for length in lengths:
        path = tmp_path / "padded.safetensors"
        header = data[8 : 8 + size] + b" " * (length - size)
        path.write_bytes(struct.pack("<Q", length) + header + data[8 + size :])
        assert read_checkpoint(path).metadata["model"]["num_heads"] == 2, hex(length)


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module._orig_mod.", "module.module.", "model.", "student.", "model._orig_mod.module."]
)
def test_prefixes_of_wrappers_go(tmp_path: Path, prefix: str) -> None:
    torch.save({prefix + key: tensor for key, tensor in make().state_dict().items()}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    assert found.state.keys() == make().state_dict().keys()
    assert found.prefix == prefix


def test_a_part_that_was_compiled_by_itself_has_its_own_keys(tmp_path: Path) -> None:
    state = {key.replace("blocks_a.", "blocks_a._orig_mod."): t for key, t in make().state_dict().items()}
    torch.save(state, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth").state.keys() == make().state_dict().keys()


def test_a_key_that_is_only_a_wrappers_name_is_a_key(tmp_path: Path) -> None:
    torch.save({"module": torch.zeros(1)}, tmp_path / "x.pth")
    assert list(read_checkpoint(tmp_path / "x.pth").state) == ["module"]


@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=1e-4, betas=(0.9, 0.95)),
        np.float64(0.3),
        np.arange(3),
        Path("run/log.txt"),
        defaultdict(list, a=[1]),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_beside_the_weights_does_not_matter(tmp_path: Path, beside: object, zipped: bool) -> None:
    content = {"model": make().state_dict(), "beside": beside}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "x.pth")
    assert found.state.keys() == make().state_dict().keys()
    assert found.others == ("beside",)


class Unknown:
    """A class of another project."""


def test_an_unknown_class_is_named_and_not_made(tmp_path: Path) -> None:
    torch.save({"model": make().state_dict(), "args": Unknown()}, tmp_path / "x.pth")
    assert "Unknown, and is not opened" in refusal(tmp_path / "x.pth")


def test_the_only_weights_of_a_file_are_found_under_any_name(tmp_path: Path) -> None:
    state = make().state_dict()
    for content in ({"ema": state, "epoch": 1}, {"weights": {"model": state}}, {"model": state, "model_ema": state}):
        torch.save(content, tmp_path / "x.pth")
        assert read_checkpoint(tmp_path / "x.pth").state.keys() == state.keys()
    assert read_checkpoint(tmp_path / "x.pth").taken == "model"


def test_of_several_weights_none_is_chosen_at_random(tmp_path: Path) -> None:
    state = make().state_dict()
    torch.save({"student": state, "teacher": state}, tmp_path / "x.pth")
    assert "weights under student, teacher" in refusal(tmp_path / "x.pth")


def test_keys_of_no_model_are_named_by_how_they_begin(tmp_path: Path) -> None:
    state: dict[str, Tensor] = {f"student.{key}": tensor for key, tensor in make().state_dict().items()}
    torch.save({**state, "loss.weight": torch.zeros(2)}, tmp_path / "x.pth")
    assert "keys begin with student., loss." in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_values_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float, word: str) -> None:
    state = make().state_dict()
    state["norm_a.weight"][3] = value
    export_published(tmp_path / "x.pth", state)
    assert f"norm_a.weight ({word}, 1 of 64 values)" in refusal(tmp_path / "x.pth")
    method = make()
    with pytest.raises(InputError, match="not finite"):
        load_weights(method, tmp_path / "x.pth")
    assert method.get_parameter("norm_a.weight").isfinite().all()  # nothing was copied


def test_weights_of_another_method_are_said_to_be_its_own(tmp_path: Path) -> None:
    sync = cavmae_sync.METHOD(cavmae_sync.CONFIG(registers=2), MODEL, InputConfig(segment_length=32, image_size=32))
    export_published(tmp_path / "cavmae.pth", make())
    with pytest.raises(InputError, match="these are weights of cavmae: --method cavmae") as error:
        load_weights(sync, tmp_path / "cavmae.pth")
    assert "init_resize" not in str(error.value)
    export_published(tmp_path / "sync.pth", sync)
    with pytest.raises(InputError, match="these are weights of cavmae_sync: --method cavmae_sync"):
        load_weights(make(), tmp_path / "sync.pth")


def test_our_files_know_their_method_where_the_keys_do_not(tmp_path: Path) -> None:
    save_weights(tmp_path / "cavmae.safetensors", make())
    other = avmae.METHOD(avmae.CONFIG(), MODEL, INPUT)
    with pytest.raises(InputError, match="these are weights of cavmae: --method cavmae"):
        load_weights(other, tmp_path / "cavmae.safetensors")
    with pytest.raises(InputError, match="these are weights of cavmae: --method cavmae"):
        build_from_checkpoint(tmp_path / "cavmae.safetensors", method="avmae")
    export_published(tmp_path / "cavmae.pth", make())  # which does not say: AV-MAE has the same keys
    load_weights(other, tmp_path / "cavmae.pth")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Tensor.to_sparse, "norm.weight (sparse_coo)"),
        (lambda tensor: tensor.to("meta"), "norm.weight (meta, without values)"),
    ],
)
def test_tensors_without_plain_values_are_named(change: Callable[[Tensor], Tensor], told: str, tmp_path: Path) -> None:
    torch.save({"norm.weight": change(torch.ones(4)), "norm.bias": torch.zeros(4)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=re.escape(f"found 1 tensors that are no plain arrays: {told}, valid:")):
        read_checkpoint(tmp_path / "w.pth")

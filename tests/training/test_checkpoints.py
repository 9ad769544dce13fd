from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from classifiers import classifier_of
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.training.checkpoints import build_from_checkpoint, load_weights, sizes
from avbench.training.export import export_published, save_weights
from avbench.training.weights_file import read_checkpoint, read_state

MODEL = ModelConfig(
    embed_dim=64,
    num_heads=1,
    modality_depth=1,
    joint_depth=1,
    patch_size=16,
    decoder_embed_dim=32,
    decoder_depth=1,
    decoder_num_heads=1,
)
INPUT = InputConfig(target_length=64, image_size=32)


def make(seed: int = 0, *, model: ModelConfig = MODEL, input: InputConfig = INPUT) -> CavMae:
    return CavMae(CavMaeConfig(), model, input, seed=seed)


def same(x: torch.nn.Module, y: torch.nn.Module) -> bool:
    a, b = x.state_dict(), y.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def message(action: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_our_file_builds_the_same_model(tmp_path: Path) -> None:
    method = CavMae(CavMaeConfig(lambda_c=0.3), ModelConfig(**{**MODEL.__dict__, "num_heads": 2}), INPUT, seed=1)
    save_weights(tmp_path / "weights.safetensors", method, extra={"step": 7})
    built = build_from_checkpoint(tmp_path / "weights.safetensors")
    assert same(built, method)
    assert built.config == method.config
    assert built.model_config == method.model_config
    assert built.input_config == method.input_config
    assert read_checkpoint(tmp_path / "weights.safetensors").metadata["step"] == 7


def test_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_weights(tmp_path / f"{name}.safetensors", make())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"a.safetensors", "b.safetensors"}


def test_published_form_goes_out_and_in_bit_for_bit(tmp_path: Path) -> None:
    method = make(2)
    export_published(tmp_path / "model.pth", method)
    stored = torch.load(tmp_path / "model.pth", weights_only=True)
    assert isinstance(stored, OrderedDict)
    assert list(stored) == [f"module.{key}" for key in method.state_dict()]
    checkpoint = read_checkpoint(tmp_path / "model.pth")
    assert checkpoint.prefixed
    built = build_from_checkpoint(tmp_path / "model.pth")
    assert same(built, method)
    assert built.model_config == MODEL
    assert built.input_config == INPUT
    export_published(tmp_path / "again.pth", checkpoint.state)
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    assert list(again) == list(stored)
    assert all(torch.equal(again[key], stored[key]) for key in stored)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_prefix_and_wrapper_do_not_matter(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    state = {prefix + key: tensor for key, tensor in make(3).state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "x.pth")
    method = make()
    load_weights(method, tmp_path / "x.pth")
    assert same(method, make(3))
    assert read_checkpoint(tmp_path / "x.pth").others == (("epoch",) if wrapper else ())


def test_every_misfit_is_reported_and_nothing_is_loaded() -> None:
    state = make(1).state_dict()
    del state["norm.weight"], state["mask_token"]
    state["extra.weight"] = torch.zeros(2)
    state["decoder_pred_a.bias"] = torch.zeros(7)
    method = make()
    text = message(lambda: load_weights(method, state))
    for words in (
        "2 missing: mask_token, norm.weight",
        "1 unexpected: extra.weight",
        "decoder_pred_a.bias (7,) instead of (256,)",
    ):
        assert words in text
    assert same(method, make())


def test_named_keys_may_miss_or_be_left_out() -> None:
    state = {key: tensor for key, tensor in make(1).state_dict().items() if not key.startswith("decoder_")}
    state["cls_token_a"] = torch.zeros(1, 1, 64)
    method = make()
    load_weights(method, state, allow_missing=["decoder_*"], allow_unexpected=["cls_token_*"])
    assert torch.equal(method.get_parameter("norm_a.weight"), state["norm_a.weight"])
    assert torch.equal(method.get_parameter("decoder_embed.weight"), make().get_parameter("decoder_embed.weight"))
    assert "unexpected: cls_token_a" in message(lambda: load_weights(method, state, allow_missing=["decoder_*"]))


def test_encoder_goes_into_the_classifier() -> None:
    classifier = classifier_of(MODEL, INPUT, 5)
    source = make(1)
    decoder = [key for key in source.state_dict() if "decoder" in key or key == "mask_token"]
    load_weights(classifier, source.state_dict(), allow_missing=["mlp_head.*"], allow_unexpected=decoder)
    assert torch.equal(classifier.encoder.joint.blocks[0].mlp.fc1.weight, source.encoder.joint.blocks[0].mlp.fc1.weight)


def test_position_tables_are_resized_on_request_only() -> None:
    longer = make(input=InputConfig(target_length=128, image_size=48))
    state = make(1).state_dict()
    text = message(lambda: load_weights(longer, state))
    assert "pos_embed_a (1, 32, 64) instead of (1, 64, 64)" in text
    assert "resized" in text
    load_weights(longer, state, resize_positions=True)
    assert torch.equal(longer.get_parameter("modality_a"), state["modality_a"])
    assert torch.equal(
        longer.get_parameter("pos_embed_a"), make(input=longer.input_config).get_parameter("pos_embed_a")
    )


def test_half_precision_files_load_into_float32(tmp_path: Path) -> None:
    state = {key: tensor.half() for key, tensor in make(1).state_dict().items()}
    torch.save(state, tmp_path / "half.pth")
    method = make()
    load_weights(method, tmp_path / "half.pth")
    assert method.get_parameter("norm.weight").dtype == torch.float32
    assert torch.allclose(method.get_parameter("modality_a"), make(1).get_parameter("modality_a"), atol=1e-3)


class Trap:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Path.touch, (Path("opened"),)  # type: ignore[return-value]


def _truncated(path: Path) -> None:
    export_published(path, make())
    path.write_bytes(path.read_bytes()[:20_000])


def _truncated_safetensors(path: Path) -> None:
    save_weights(path.with_suffix(".safetensors"), make())
    path.write_bytes(path.with_suffix(".safetensors").read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_text("not weights at all"), "neither a PyTorch nor a safetensors file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 not a zip"), "damaged"),
        (lambda path: path.write_bytes(b"\x80\x02garbage"), "damaged"),
        (_truncated, "damaged"),
        (_truncated_safetensors, "damaged"),
        (lambda path: path.write_bytes(pickle.dumps({"a": Trap()})), "not opened"),
        (lambda path: torch.save(Trap(), path), "not opened"),
        (lambda path: torch.save([1, 2], path), "a stored list"),
        (lambda path: torch.save({}, path), "no tensors"),
        (lambda path: torch.save({"a": 1, "b": torch.zeros(1)}, path), "entries that are no tensors (a)"),
    ],
)
def test_files_that_are_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pth"
    write(path)
    text = message(lambda: read_state(path))
    assert words in text
    assert str(path) in text
    assert not (tmp_path / "opened").exists()


def test_only_weights_of_a_method_are_built(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    assert "weights of no model known here" in message(lambda: build_from_checkpoint(tmp_path / "other.pth"))
    export_published(tmp_path / "fine.pth", classifier_of(MODEL, INPUT, 5))
    text = message(lambda: build_from_checkpoint(tmp_path / "fine.pth"))
    assert "a fine-tuned CAV-MAE classifier of 5 classes" in text


def test_heads_that_shapes_do_not_tell_must_be_given(tmp_path: Path) -> None:
    narrow = ModelConfig(**{**MODEL.__dict__, "embed_dim": 32, "num_heads": 4, "decoder_num_heads": 2})
    export_published(tmp_path / "narrow.pth", make(model=narrow))
    text = message(lambda: build_from_checkpoint(tmp_path / "narrow.pth"))
    assert "model.num_heads and model.decoder_num_heads" in text
    heads = {"num_heads": 4, "decoder_num_heads": 2}
    assert build_from_checkpoint(tmp_path / "narrow.pth", model=heads).model_config == narrow
    assert "model.num_heads" in message(lambda: sizes(tmp_path / "narrow.pth"))
    layer = sizes(tmp_path / "narrow.pth", given=["model.num_heads", "model.decoder_num_heads"])
    assert layer["model"]["embed_dim"] == 32
    assert "num_heads" not in layer["model"]


def test_sizes_are_a_layer_of_what_the_file_tells(tmp_path: Path) -> None:
    export_published(tmp_path / "model.pth", make())
    assert sizes(tmp_path / "model.pth")["input"] == {"n_mels": 128, "target_length": 64, "image_size": 32}
    save_weights(tmp_path / "model.safetensors", make())
    layer = sizes(tmp_path / "model.safetensors", method="cavmae")
    assert layer["method"]["lambda_c"] == 0.01
    assert layer["model"]["num_heads"] == 1
    assert "method" not in sizes(tmp_path / "model.safetensors", method="cav")


def test_weights_of_a_model_on_another_type_keep_their_values(tmp_path: Path) -> None:
    state: dict[str, Tensor] = {"a": torch.randn(3).bfloat16(), "module.b": torch.randn(2).double()}
    export_published(tmp_path / "x.pth", state)
    stored = read_state(tmp_path / "x.pth")
    assert torch.equal(stored["a"], state["a"])
    assert stored["b"].dtype == torch.float64

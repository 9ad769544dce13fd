"""What pretraining starts from: what goes where, what is left, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from avbench import registry
from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.training.export import export_published, save_weights
from avbench.training.initialization import Initialised, identity, initialise_from
from avbench.training.inspect import describe

DIM, WIDTH, PATCH = 16, 8, 4
INPUT = InputConfig(n_mels=16, target_length=32, image_size=16)
MODEL = ModelConfig(
    embed_dim=DIM,
    num_heads=2,
    modality_depth=2,
    joint_depth=1,
    patch_size=PATCH,
    decoder_embed_dim=WIDTH,
    decoder_depth=2,
    decoder_num_heads=2,
)


def make(name: str, seed: int = 0, model: ModelConfig = MODEL, input: InputConfig = INPUT, **options: Any) -> Method:
    module = registry.find("method", name).load()
    method: Method = module.METHOD(module.CONFIG(**options), model, input, seed=seed)
    return method


def transformer_state(*, decoder: bool, depth: int = 3, head: bool = False, seed: int = 5) -> dict[str, Tensor]:
    """An image transformer's tensors under the names that the MAE authors and timm share."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        state[name] = torch.randn(shape, generator=generator)

    def add_blocks(name: str, count: int, dim: int) -> None:
        for i in range(count):
            for norm in ("norm1", "norm2"):
                add(f"{name}.{i}.{norm}.weight", dim)
                add(f"{name}.{i}.{norm}.bias", dim)
            for layer, (rows, columns) in {
                "attn.qkv": (3 * dim, dim),
                "attn.proj": (dim, dim),
                "mlp.fc1": (4 * dim, dim),
                "mlp.fc2": (dim, 4 * dim),
            }.items():
                add(f"{name}.{i}.{layer}.weight", rows, columns)
                add(f"{name}.{i}.{layer}.bias", rows)

    add("cls_token", 1, 1, DIM)
    add("pos_embed", 1, 17, DIM)
    add("patch_embed.proj.weight", DIM, 3, PATCH, PATCH)
    add("patch_embed.proj.bias", DIM)
    add_blocks("blocks", depth, DIM)
    for kind in ("weight", "bias"):
        add(f"norm.{kind}", DIM)
    if head:
        add("head.weight", 7, DIM)
        add("head.bias", 7)
    if decoder:
        add("mask_token", 1, 1, WIDTH)
        add("decoder_pos_embed", 1, 17, WIDTH)
        add("decoder_embed.weight", WIDTH, DIM)
        add("decoder_embed.bias", WIDTH)
        add_blocks("decoder_blocks", 2, WIDTH)
        for kind in ("weight", "bias"):
            add(f"decoder_norm.{kind}", WIDTH)
        add("decoder_pred.weight", PATCH * PATCH * 3, WIDTH)
        add("decoder_pred.bias", PATCH * PATCH * 3)
    return state


@pytest.fixture(params=["original", "timm"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes tensors as the MAE authors do (a wrapper with an optimiser beside it) or bare, as timm's files are."""

    def write(state: dict[str, Tensor]) -> str:
        path = tmp_path / "mae.pth"
        torch.save({"model": state, "epoch": 1} if request.param == "original" else state, path)
        return str(path)

    return write


def test_an_image_transformer_goes_where_the_table_says(written: Any) -> None:
    state = transformer_state(decoder=True)
    method, fresh = make("cavmae"), make("cavmae").state_dict()
    report = initialise_from(method, written(state))
    own = method.state_dict()
    for key, tensor in state.items():
        if key.startswith("blocks."):
            number, leaf = key.split(".", 2)[1:]
            if number == "2":  # the last one is the joint encoder's
                assert torch.equal(own[f"blocks_u.0.{leaf}"], tensor)
                if leaf.startswith("norm"):
                    norm, kind = leaf.split(".")
                    assert torch.equal(own[f"blocks_u.0.{norm}_a.{kind}"], tensor)
                    assert torch.equal(own[f"blocks_u.0.{norm}_v.{kind}"], tensor)
            else:
                assert torch.equal(own[f"blocks_a.{number}.{leaf}"], tensor)
                assert torch.equal(own[f"blocks_v.{number}.{leaf}"], tensor)
        elif key.startswith(("decoder_embed", "decoder_blocks", "decoder_norm", "mask_token")):
            assert torch.equal(own[key], tensor)
    for suffix in ("", "_a", "_v"):
        assert torch.equal(own[f"norm{suffix}.weight"], state["norm.weight"])
    assert torch.equal(own["patch_embed_v.proj.weight"], state["patch_embed.proj.weight"])
    assert torch.equal(own["patch_embed_a.proj.weight"], state["patch_embed.proj.weight"].sum(1, keepdim=True))
    assert torch.equal(own["pos_embed_v"], state["pos_embed"][:, 1:])
    assert torch.equal(own["decoder_pos_embed_v"], state["decoder_pos_embed"][:, 1:])
    assert torch.equal(own["decoder_pred_v.weight"], state["decoder_pred.weight"])
    assert torch.equal(own["decoder_pred_a.weight"], state["decoder_pred.weight"][: PATCH * PATCH])
    assert report.dropped == ("cls_token",)
    for key in report.kept:
        assert torch.equal(own[key], fresh[key]), key
    groups = {key.partition(".")[0] for key in report.kept}
    assert groups == {
        *("modality_a", "modality_v", "decoder_modality_a", "decoder_modality_v", "pos_embed_a", "decoder_pos_embed_a"),
        *("blocks_a", "blocks_v", "decoder_blocks"),
    }
    assert set(report.copied) | set(report.kept) == set(own)


@pytest.mark.parametrize("name", ["audiomae", "visualmae", "vanilla_avmae", "avmae", "cav", "cavmae", "cavmae_sync"])
@pytest.mark.parametrize("decoder", [True, False])
def test_every_method_starts_from_an_encoder(written: Any, name: str, decoder: bool) -> None:
    input = InputConfig(n_mels=16, target_length=32, image_size=16, segment_length=16 if name == "cavmae_sync" else 0)
    method, fresh = make(name, input=input), make(name, input=input).state_dict()
    state = transformer_state(decoder=decoder, head=True)
    report = initialise_from(method, written(state))
    own = method.state_dict()
    last = "blocks_u.2" if "blocks_u.2.mlp.fc1.weight" in own else "blocks_u.0"
    assert torch.equal(own[f"{last}.mlp.fc1.weight"], state["blocks.2.mlp.fc1.weight"])
    expected = {"cls_token", "head.weight", "head.bias"}
    if name == "cav" and decoder:
        expected |= {key for key in state if key.startswith(("decoder_", "mask_token"))}
    if name == "audiomae":
        expected |= {"pos_embed"} | ({"decoder_pos_embed"} if decoder else set())
    assert set(report.dropped) == expected
    if "decoder_embed.weight" in own:
        kept = torch.equal(own["decoder_embed.weight"], fresh["decoder_embed.weight"])
        assert kept != decoder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"blocks.0.ls1.gamma": torch.ones(DIM)}, "unexpected: blocks_a.0.ls1.gamma"),
        ({"extra": torch.ones(1)}, "1 unexpected: extra"),
        ({"norm.weight": torch.ones(DIM + 1)}, "of another shape"),
    ],
)
def test_what_has_no_place_is_refused_and_nothing_changes(written: Any, change: dict[str, Tensor], told: str) -> None:
    method, fresh = make("cavmae"), make("cavmae").state_dict()
    with pytest.raises(InputError) as caught:
        initialise_from(method, written(transformer_state(decoder=True) | change))
    assert told.split(": ")[0] in str(caught.value)
    assert all(torch.equal(tensor, fresh[key]) for key, tensor in method.state_dict().items())


def test_another_depth_or_input_is_refused_with_the_fix(written: Any) -> None:
    with pytest.raises(InputError, match=r"found 4 blocks, valid: 3 = model.modality_depth \+ model.joint_depth"):
        initialise_from(make("cavmae"), written(transformer_state(decoder=False, depth=4)))
    larger = InputConfig(n_mels=16, target_length=32, image_size=24)
    with pytest.raises(InputError, match=r"train\.init_resize=true"):
        initialise_from(make("cavmae", input=larger), written(transformer_state(decoder=True)))
    method = make("cavmae", input=larger)
    initialise_from(method, written(transformer_state(decoder=True)), resize_positions=True)
    assert method.state_dict()["pos_embed_v"].shape == (1, 36, DIM)


def related(folder: Path, name: str, *, published: bool = False, **options: Any) -> tuple[str, dict[str, Tensor]]:
    """Weights of another training of a method, in a file."""
    other = make(name, seed=7, **options)
    path = folder / ("weights.pth" if published else "weights.safetensors")
    (export_published if published else save_weights)(path, other)
    return str(path), other.state_dict()


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(("start", "method"), [("cavmae", "avmae"), ("avmae", "cavmae"), ("cavmae", "cavmae")])
def test_the_family_shares_its_keys(tmp_path: Path, start: str, method: str, published: bool) -> None:
    path, state = related(tmp_path, start, published=published)
    built = make(method)
    report = initialise_from(built, path)
    assert all(torch.equal(tensor, state[key]) for key, tensor in built.state_dict().items())
    assert (report.kept, report.dropped) == ((), ())


def test_cav_starts_from_cavmae_without_its_decoder_and_not_the_reverse(tmp_path: Path) -> None:
    path, state = related(tmp_path, "cavmae")
    cav = make("cav")
    report = initialise_from(cav, path)
    assert all(torch.equal(tensor, state[key]) for key, tensor in cav.state_dict().items())
    assert {key.partition("_")[0] for key in report.dropped} == {"decoder", "mask"}
    (tmp_path / "second").mkdir()
    path, state = related(tmp_path / "second", "cav")
    with pytest.raises(InputError, match="missing"):
        initialise_from(make("cavmae"), path)
    report = initialise_from(make("cavmae"), path, allow_missing=("decoder_*", "mask_token"))
    assert report.kept
    assert all(key.startswith(("decoder_", "mask_token")) for key in report.kept)


def test_sync_starts_from_cavmae_with_audio_tables_of_its_own(tmp_path: Path) -> None:
    path, state = related(tmp_path, "cavmae")
    windows = InputConfig(n_mels=16, target_length=32, image_size=16, segment_length=16)
    # All but the tables fits: resizing them is the fix, and not the other method's name.
    with pytest.raises(InputError, match=r"pos_embed_a.*train\.init_resize=true") as caught:
        initialise_from(make("cavmae_sync", input=windows), path)
    assert "--method" not in str(caught.value)
    initialise_from(make("cavmae_sync", input=windows), path, resize_positions=True)
    sync, fresh = make("cavmae_sync", input=windows), make("cavmae_sync", input=windows).state_dict()
    report = initialise_from(sync, path, allow_missing=("*pos_embed_a",))
    own = sync.state_dict()
    assert set(report.kept) == {"pos_embed_a", "decoder_pos_embed_a", "cls_token_a", "cls_token_v", "register_tokens"}
    for key, tensor in own.items():
        assert torch.equal(tensor, fresh[key] if key in report.kept else state[key]), key


def test_what_the_adaptation_script_left_behind_has_no_place(tmp_path: Path) -> None:
    _, state = related(tmp_path, "cavmae")
    left = {f"cls_token_{suffix}": torch.zeros(1, 1, DIM) for suffix in ("a", "v", "av")}
    torch.save(state | left, tmp_path / "adapted.pth")
    assert set(initialise_from(make("cavmae"), str(tmp_path / "adapted.pth")).dropped) == set(left)


def test_on_the_meta_device_it_checks_alike(written: Any) -> None:
    with torch.device("meta"):
        method = make("cavmae")
    assert isinstance(initialise_from(method, written(transformer_state(decoder=True))), Initialised)
    with pytest.raises(InputError, match="found 4 blocks"):
        initialise_from(method, written(transformer_state(decoder=True, depth=4)))


def test_identity_follows_the_bytes(tmp_path: Path) -> None:
    path, _ = related(tmp_path, "cavmae")
    before = identity(path)
    Path(path).write_bytes(Path(path).read_bytes() + b" ")
    assert identity(path) != before


def test_a_name_loads_its_file_and_is_refused_without_the_decoder_it_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path))
    path = tmp_path / "weights" / "mae_pretrain_vit_base_full.pth"
    path.parent.mkdir()
    state = transformer_state(decoder=True)
    torch.save({"model": state}, path)
    method = make("cavmae")
    assert initialise_from(method, "imagenet-mae").source == "imagenet-mae"
    assert torch.equal(method.state_dict()["decoder_embed.weight"], state["decoder_embed.weight"])
    assert identity("imagenet-mae") == identity(str(path))
    torch.save({"model": transformer_state(decoder=False)}, path)
    for source in ("imagenet-mae", str(path)):
        with pytest.raises(InputError, match="found no decoder in it"):
            initialise_from(make("cavmae"), source)


def test_a_norm_of_the_mean_is_the_last_norm_where_there_is_no_other(written: Any) -> None:
    state = transformer_state(decoder=False, head=True)
    for kind in ("weight", "bias"):
        state[f"fc_norm.{kind}"] = state.pop(f"norm.{kind}")
    method = make("cavmae")
    initialise_from(method, written(state))
    for name in ("norm", "norm_a", "norm_v"):
        assert torch.equal(method.state_dict()[f"{name}.weight"], state["fc_norm.weight"])


def test_timm_weights_that_are_not_here_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("avbench.training.initialization._reachable", lambda: False)
    monkeypatch.setattr("avbench.training.initialization._cached", lambda hub: None)
    with pytest.raises(InputError) as caught:
        initialise_from(make("cavmae"), "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    message = str(caught.value)
    assert "model.safetensors of 'timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k'" in message
    assert "--init FILE" in message
    with pytest.raises(InputError, match=r"Did you mean 'vit_base_patch16_224\.mae'"):
        initialise_from(make("cavmae"), "timm:vit_base_patch16_224.mea")


def test_a_cached_timm_model_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    torch.manual_seed(3)
    state = timm.create_model(name, pretrained=False).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setattr("avbench.training.initialization._cached", lambda hub: tmp_path / "model.safetensors")
    model = ModelConfig(embed_dim=192, num_heads=3, modality_depth=11, joint_depth=1)
    method = make("cav", model=model, input=InputConfig(target_length=64))
    report = initialise_from(method, f"timm:{name}")
    own = method.state_dict()
    assert torch.equal(own["blocks_u.0.mlp.fc2.weight"], state["blocks.11.mlp.fc2.weight"])
    assert set(report.dropped) == {"cls_token", "head.weight", "head.bias"}
    assert set(identity(f"timm:{name}")) == {"timm", "sha256"}


@pytest.mark.parametrize(("decoder", "head"), [(True, False), (False, False), (False, True)])
def test_inspect_tells_what_it_is(decoder: bool, head: bool) -> None:
    found = describe(transformer_state(decoder=decoder, head=head))
    assert found.kind == "vit"
    assert ("with decoder" in found.summary) == decoder
    assert found.n_classes == (7 if head else 0)

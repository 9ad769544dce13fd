"""What holds for all seven methods, and which parameters each of them trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avbench import registry
from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.methods.masking import MaskNoise
from avbench.training.checkpoints import build_from_checkpoint, read_checkpoint, sizes
from avbench.training.export import export_published, save_weights
from avbench.training.inspect import describe

Batch = tuple[Tensor, Tensor]
Make = Callable[..., Method]
SEVEN = ("audiomae", "avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae", "visualmae")
PAIRED = tuple(name for name in SEVEN if name not in ("audiomae", "visualmae"))


def draw(method: Method, batch: int = 3, seed: int = 0) -> MaskNoise:
    return method.draw_noise(batch, torch.Generator().manual_seed(seed))


def without_gradient(method: Method, batch: Batch) -> set[str]:
    method(*batch, draw(method)).loss.backward()
    return {key for key, p in method.named_parameters() if p.requires_grad and p.grad is None}


def test_these_are_the_methods() -> None:
    found = {name for name, entry in registry.entries("method").items() if entry.origin == "avbench"}
    assert found == set(SEVEN)


@pytest.mark.parametrize("name", SEVEN)
def test_card_tells_the_truth(name: str) -> None:
    entry = registry.find("method", name)
    module = entry.load()
    assert module.METHOD.name == name
    assert module.METHOD.modalities == entry.card["modalities"]
    windows = 416 if name == "cavmae_sync" else 0
    with torch.device("meta"):
        method = module.METHOD(module.CONFIG(), ModelConfig(), InputConfig(segment_length=windows))
    assert sum(p.numel() for p in method.parameters()) == entry.card["parameters"]
    assert ("embeddings" in entry.card["abilities"]) == (len(method.modalities) == 2)
    assert any("decoder" in key for key in method.state_dict()) == ("reconstruction" in entry.card["objectives"])


@pytest.mark.parametrize("name", SEVEN)
def test_objectives_and_masks_are_those_of_the_card(make: Make, batch: Batch, name: str) -> None:
    method = make(name)
    output = method(*batch, draw(method))
    card = registry.find("method", name).card
    wanted = {f"reconstruction_{m}" for m in card["modalities"] if "reconstruction" in card["objectives"]}
    wanted |= {"contrast", "contrast_accuracy"} if "contrast" in card["objectives"] else set()
    assert set(output.parts) == wanted
    assert torch.isfinite(output.loss)
    assert (output.mask_audio is None) == ("audio" not in card["modalities"])
    assert (output.mask_visual is None) == ("visual" not in card["modalities"])


@pytest.mark.parametrize("name", SEVEN)
def test_batch_of_one_equals_row_of_batch(make: Make, batch: Batch, name: str) -> None:
    method = make(name)
    noise = draw(method)
    one, two = slice(0, 1), slice(0, 2)
    with torch.no_grad():
        first = method(batch[0][one], batch[1][one], noise.part(one))
        both = method(batch[0][two], batch[1][two], noise.part(two))
        assert torch.isfinite(first.loss)
        for field in ("mask_audio", "mask_visual", "prediction_audio", "prediction_visual"):
            alone, beside = getattr(first, field), getattr(both, field)
            assert alone is None or torch.allclose(alone, beside[one], atol=1e-5), field
        if name in PAIRED:
            embedded = method.embed(batch[0][one], batch[1][one]), method.embed(batch[0][two], batch[1][two])
            assert all(torch.allclose(x, y[one], atol=1e-6) for x, y in zip(*embedded, strict=True))


@pytest.mark.parametrize("name", PAIRED)
def test_one_modality_never_reaches_the_others_embedding(make: Make, batch: Batch, name: str) -> None:
    method = make(name)
    audio, visual = batch
    with torch.no_grad():
        embedded, changed = method.embed(audio, visual), method.embed(audio, visual + 1)
        heard = method.embed(audio + 1, visual)
    assert torch.equal(embedded[0], changed[0])
    assert torch.equal(embedded[1], heard[1])
    assert not torch.allclose(embedded[1], changed[1])
    assert all(torch.allclose(vectors.norm(dim=1), torch.ones(3)) for vectors in embedded)


@pytest.mark.parametrize("name", [name for name in SEVEN if name != "cav"])
def test_loss_ignores_what_the_prediction_says_of_kept_patches(make: Make, batch: Batch, name: str) -> None:
    method = make(name)
    output = method(*batch, draw(method))
    for modality in method.modalities:
        prediction, mask = getattr(output, f"prediction_{modality}"), getattr(output, f"mask_{modality}")
        (gradient,) = torch.autograd.grad(output.loss, prediction, retain_graph=True)
        moved = gradient.abs().sum(-1)
        assert (moved[mask == 0] == 0).all()
        assert (moved[mask == 1] > 0).all()


@pytest.mark.parametrize("name", ["audiomae", "visualmae", "vanilla_avmae"])
def test_a_joint_encoder_trains_all_it_has(make: Make, batch: Batch, name: str) -> None:
    method = make(name)
    assert without_gradient(method, batch) == set()
    letters = "".join(modality[0] for modality in method.modalities)
    parts = {key.partition(".")[0] for key in method.state_dict() if key.partition(".")[0][-2:] in ("_a", "_v")}
    assert {part[-1] for part in parts} == set(letters)
    assert len({key.split(".")[1] for key in method.state_dict() if key.startswith("blocks_u.")}) == 2 + 2


def unused_norms(method: Method, *stacks: str) -> set[str]:
    """The modalities' LayerNorms of blocks that run with the plain ones only."""
    keys = [key.split(".") for key, _ in method.named_parameters()]
    return {
        ".".join(key) for key in keys if key[0] in stacks and key[2] in ("norm1_a", "norm1_v", "norm2_a", "norm2_v")
    }


def test_cav_trains_neither_decoder_nor_joint_norms(make: Make, batch: Batch) -> None:
    method = make("cav")
    plain = {
        f"blocks_u.{i}.{norm}.{kind}" for i in (0, 1) for norm in ("norm1", "norm2") for kind in ("weight", "bias")
    }
    wanted = unused_norms(method, "blocks_a", "blocks_v") | plain | {"norm.weight", "norm.bias"}
    assert without_gradient(method, batch) == wanted


def test_avmae_trains_no_norm_of_a_single_modality(make: Make, batch: Batch) -> None:
    method = make("avmae")
    wanted = unused_norms(method, "blocks_a", "blocks_v", "blocks_u", "decoder_blocks")
    wanted |= {f"norm_{m}.{kind}" for m in "av" for kind in ("weight", "bias")}
    assert without_gradient(method, batch) == wanted


def test_avmae_is_cavmae_without_contrast(make: Make, batch: Batch) -> None:
    avmae, cavmae = make("avmae"), make("cavmae", lambda_c=0.0)
    assert avmae.state_dict().keys() == cavmae.state_dict().keys()
    assert torch.equal(avmae(*batch, draw(avmae)).loss, cavmae(*batch, draw(cavmae)).loss)
    assert not hasattr(avmae.config, "lambda_c")


def test_cav_is_cavmae_without_reconstruction(make: Make, batch: Batch) -> None:
    cav, cavmae = make("cav", lambda_c=1.0), make("cavmae", lambda_r=0.0, lambda_c=1.0)
    assert cav.state_dict().keys() < cavmae.state_dict().keys()
    assert torch.equal(cav(*batch, draw(cav)).loss, cavmae(*batch, draw(cavmae)).loss)


def test_vanilla_masks_all_tokens_together(make: Make, batch: Batch) -> None:
    """Three quarters of the 48 tokens in all, but as many of a modality as the draw makes it (paper 2.2)."""
    method = make("vanilla_avmae")
    output = method(*batch, draw(method, seed=1))
    assert output.mask_audio.shape == (3, 32)
    assert output.mask_visual.shape == (3, 16)
    assert (output.mask_audio.sum(1) + output.mask_visual.sum(1) == 36).all()
    assert len(set(output.mask_audio.sum(1).tolist())) > 1


@pytest.mark.parametrize(("name", "other"), [("audiomae", 1), ("visualmae", 0)])
def test_a_single_modality_method_never_reads_the_other(make: Make, batch: Batch, name: str, other: int) -> None:
    method = make(name)
    changed = [batch[0], batch[1]]
    changed[other] = torch.full((1,), torch.nan)
    assert torch.equal(method(*batch, draw(method)).loss, method(*changed, draw(method)).loss)
    with pytest.raises(InputError, match="found one modality"):
        method.embed(*batch)


def test_a_single_modality_method_needs_sizes_of_its_own_only() -> None:
    audio, visual = (registry.find("method", name).load() for name in ("audiomae", "visualmae"))
    with torch.device("meta"):
        audio.METHOD(audio.CONFIG(), ModelConfig(), InputConfig(image_size=225))
        visual.METHOD(visual.CONFIG(), ModelConfig(), InputConfig(target_length=1000))
        with pytest.raises(InputError, match=r"input\.target_length: found 1000"):
            audio.METHOD(audio.CONFIG(), ModelConfig(), InputConfig(target_length=1000))


@pytest.mark.parametrize("strategy", ["time", "frequency", "time_frequency"])
def test_audiomae_masks_lines(make: Make, batch: Batch, strategy: str) -> None:
    method = make("audiomae", masking_strategy=strategy)
    assert torch.isfinite(method(*batch, draw(method)).loss)


@pytest.mark.parametrize("name", [name for name in SEVEN if name != "cav"])
def test_nothing_to_reconstruct_is_refused(make: Make, name: str) -> None:
    with pytest.raises(InputError, match="removes none"):
        make(name, masking_ratio=0.0)


@pytest.mark.parametrize("name", SEVEN)
def test_noise_of_another_method_is_refused(make: Make, batch: Batch, name: str) -> None:
    with pytest.raises(InputError, match="draw it with draw_noise"):
        make(name)(*batch, MaskNoise())


@pytest.mark.parametrize("name", SEVEN)
def test_our_file_builds_the_same_method(make: Make, tmp_path: Path, name: str) -> None:
    method = make(name, seed=2, masking_ratio=0.5)
    save_weights(tmp_path / "weights.safetensors", method)
    built = build_from_checkpoint(tmp_path / "weights.safetensors")
    assert type(built) is type(method)
    assert built.config == method.config
    assert all(torch.equal(x, y) for x, y in zip(built.parameters(), method.parameters(), strict=True))
    assert sizes(tmp_path / "weights.safetensors", method=name)["method"]["masking_ratio"] == 0.5


@pytest.mark.parametrize("name", SEVEN)
def test_keys_and_shapes_tell_the_method(make: Make, tmp_path: Path, name: str) -> None:
    """AV-MAE's are CAV-MAE's: such a file has to be asked for by name."""
    method = make(name, seed=2)
    path = tmp_path / "published.pth"
    export_published(path, method)
    description = describe(read_checkpoint(path).state, n_mels=16)
    assert description.method == {"avmae": "cavmae"}.get(name, name)
    heads = {"num_heads": 2, "decoder_num_heads": 2}
    built = build_from_checkpoint(path, method=name, model=heads, input=vars(method.input_config))
    assert type(built) is type(method)
    assert all(torch.equal(x, y) for x, y in zip(built.parameters(), method.parameters(), strict=True))

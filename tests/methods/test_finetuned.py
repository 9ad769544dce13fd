from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.methods.classifier import Classifier, build_classifier
from avbench.methods.heads import KEYS
from avbench.methods.streams import single_stream
from avbench.settings import Settings
from avbench.training.checkpoints import load_weights

BOTH = ("cav", "avmae", "cavmae", "vanilla_avmae")
PLAIN = {"multimodal": "joint", "audioonly": "audio", "videoonly": "visual"}


def built(method: Method, mode: str = "multimodal", **options: Any) -> Classifier:
    return build_classifier(method, 5, mode=mode, **options).eval()


@pytest.mark.parametrize("mode", PLAIN)
@pytest.mark.parametrize("name", BOTH)
def test_head_reads_the_method_s_own_vectors(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], name: str, mode: str
) -> None:
    method = make(name).eval()
    model = built(method)
    torch.testing.assert_close(model(*batch, mode), model.head(method.vectors(*batch)[PLAIN[mode]]))


@pytest.mark.parametrize(("name", "mode"), [("audiomae", "audioonly"), ("visualmae", "videoonly")])
def test_single_modality_methods(make: Callable[..., Any], batch: tuple[Tensor, Tensor], name: str, mode: str) -> None:
    method = make(name).eval()
    model = built(method, mode)
    torch.testing.assert_close(model(*batch, mode), model.head(method.vectors(*batch)[PLAIN[mode]]))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["cavmae", "vanilla_avmae"])
def test_single_streams_stand_end_to_end_and_all_three_are_summed(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], name: str
) -> None:
    """Paper Table 2f: SM is the concatenation of the two single streams, MM+SM the sum of what MM and SM read."""
    method = make(name).eval()
    vectors = method.vectors(*batch)
    wanted = {
        "MM": vectors["joint"],
        "SM": torch.cat([vectors["audio"], vectors["visual"]], dim=-1),
        "MM+SM": vectors["joint"] + vectors["audio"] + vectors["visual"],
    }
    for streams, vector in wanted.items():
        model = built(method, streams=streams)
        assert vector.shape[-1] == model.head.mlp[0].weight.shape[0]
        torch.testing.assert_close(model(*batch), model.head(vector))


def test_sync_s_linear_head_reads_both_streams_end_to_end(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor]
) -> None:
    method = make("cavmae_sync").eval()
    model = built(method, streams="SM", head="linear")
    encoder = model.encoder
    audio = encoder.pool(single_stream(encoder, "audio", batch[0]))
    visual = encoder.pool(single_stream(encoder, "visual", batch[1]))
    torch.testing.assert_close(model(*batch), model.head(torch.cat([audio, visual], dim=-1)))


def test_streams_that_sync_s_head_would_not_look_at_are_refused(make: Callable[..., Any]) -> None:
    for streams in ("SM", "MM+SM"):
        with pytest.raises(InputError, match=r"task\.streams: found .*, valid with CAV-MAE Sync's head attention: MM"):
            built(make("cavmae_sync"), streams=streams)


@pytest.mark.parametrize("name", ["cavmae", "vanilla_avmae", "cavmae_sync"])
def test_a_head_of_both_single_streams_has_no_mode_of_one(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], name: str
) -> None:
    model = built(make(name), streams="SM", head="linear")
    assert model.missing_modes == ()
    with pytest.raises(InputError, match=r"mode: found audioonly for a head that reads both .* valid: multimodal"):
        model(*batch, "audioonly")
    alone = built(make(name), "audioonly", streams="SM", head="linear")
    assert alone(*batch, "audioonly").shape == (len(batch[0]), 5)


def test_without_modality_norms(make: Callable[..., Any], batch: tuple[Tensor, Tensor]) -> None:
    method = make("cavmae", modality_norms=False).eval()
    model = built(method)
    torch.testing.assert_close(model(*batch, "audioonly"), model.head(method.vectors(*batch)["audio"]))


@pytest.mark.parametrize("mode", PLAIN)
@pytest.mark.parametrize("name", [*BOTH, "cavmae_sync"])
def test_several_frames_are_those_frames_one_by_one(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], name: str, mode: str
) -> None:
    model = built(make(name), mode, head="linear")
    audio = torch.stack([batch[0], batch[0], batch[0] * 0.5], dim=1)  # two equal sounds in a row
    visual = torch.stack([batch[1], -batch[1], batch[1] * 0.5], dim=1)
    each = torch.stack([model(audio[:, k], visual[:, k], mode) for k in range(3)], dim=1)
    torch.testing.assert_close(model(audio, visual, mode), each, atol=1e-5, rtol=1e-5)


def test_frames_must_fit_sounds(make: Callable[..., Any], batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="sounds and"):
        built(make("cavmae"))(batch[0][:, None], batch[1])


@pytest.mark.parametrize("options", [{}, {"registers": 0}, {"global_token": False}, {"keep_registers": True}])
def test_sync_probe_reads_global_tokens_of_the_modality_encoders(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], options: dict[str, Any]
) -> None:
    method = make("cavmae_sync", **options).eval()
    model = built(method)
    assert model.head.kind == "attention"
    audio, visual = (torch.stack([x, x * 0.3], dim=1) for x in batch)  # (B, 2, ...)
    vectors = []
    for k in range(2):
        sound = _pooled(method, "audio", audio[:, k])
        frame = _pooled(method, "visual", visual[:, k])
        vectors.append(torch.cat([sound, frame], dim=-1))
    torch.testing.assert_close(model(audio, visual), model.head(torch.stack(vectors, dim=1)))
    used = {name.partition(".")[0] for name, p in _gradients(model, audio, visual) if p}
    assert not used & {"blocks_u", "norm", "norm_a", "norm_v"}


def _pooled(method: Any, name: str, batch: Tensor) -> Tensor:
    pooled: Tensor = method.encoder.pool(method.encoder.encode(name, method.encoder.of(name).tokens(batch)))
    return pooled


def _gradients(model: nn.Module, audio: Tensor, visual: Tensor) -> list[tuple[str, bool]]:
    model(audio, visual).square().sum().backward()
    return [(name, p.grad is not None) for name, p in model.named_parameters()]


@pytest.mark.parametrize(("mode", "name"), [("audioonly", "audio"), ("videoonly", "visual")])
def test_sync_with_one_modality_takes_the_plain_norms(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], mode: str, name: str
) -> None:
    method = make("cavmae_sync").eval()
    encoder = method.encoder
    tokens = encoder.joint(encoder.encode(name, encoder.of(name).tokens(batch[name == "visual"])), "joint")
    probe, linear = built(method, mode), built(method, mode, head="linear")
    torch.testing.assert_close(probe(*batch, mode), probe.head(tokens.mean(dim=1)))
    torch.testing.assert_close(linear(*batch, mode), linear.head(tokens[:, 0]))


def test_sync_leaves_the_contrastive_heads_behind(make: Callable[..., Any]) -> None:
    assert not [key for key in built(make("cavmae_sync", head_depth=1)).state_dict() if "constrative" in key]


@pytest.mark.parametrize(("mode", "name"), [("missingaudioonly", "audio"), ("missingvideoonly", "visual")])
@pytest.mark.parametrize("options", [{}, {"registers": 0}, {"global_token": False}, {"keep_registers": True}])
def test_sync_without_a_modality_has_nothing_in_its_place(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor], mode: str, name: str, options: dict[str, Any]
) -> None:
    method = make("cavmae_sync", **options).eval()
    model, linear = built(method), built(method, head="linear")
    pooled = _pooled(method, name, batch[name == "visual"])
    places = [pooled, torch.zeros_like(pooled)]
    vector = torch.cat(places if name == "audio" else places[::-1], dim=-1)
    torch.testing.assert_close(model(*batch, mode), model.head(vector))
    given = (batch[0], None) if name == "audio" else (None, batch[1])
    torch.testing.assert_close(model(*given, mode), model(*batch, mode))  # the other one is not looked at
    encoder = method.encoder
    tokens = encoder.encode(name, encoder.of(name).tokens(batch[name == "visual"]))
    own = encoder.patches(linear.encoder.stream(name, tokens)).mean(dim=1)
    both = (encoder.joint_stream(tokens).mean(dim=1) + own) / 2
    torch.testing.assert_close(linear(*batch, mode), linear.head(both))


def test_concat_over_frames(make: Callable[..., Any], batch: tuple[Tensor, Tensor]) -> None:
    model = built(make("cavmae_sync"), head="concat", n_frames=2)
    assert model(*(torch.stack([x, x], dim=1) for x in batch)).shape == (3, 5)


def test_frozen_models_train_their_head_alone(make: Callable[..., Any], batch: tuple[Tensor, Tensor]) -> None:
    for name in ("cavmae", "cavmae_sync"):
        model = built(make(name))
        model.freeze()
        model(*batch).sum().backward()
        with_gradient = {key for key, p in model.named_parameters() if p.grad is not None}
        assert with_gradient

        trained = {key for key, p in model.named_parameters() if p.requires_grad}
        assert with_gradient <= trained
        assert all(key.startswith(KEYS) for key in trained)


def test_method_is_not_changed_and_the_head_is_a_function_of_the_seed(
    make: Callable[..., Any], batch: tuple[Tensor, Tensor]
) -> None:
    method = make("cavmae")
    one, same, other = built(method), built(method), built(method, seed=1)
    assert torch.equal(one(*batch), same(*batch))
    assert not torch.equal(one(*batch), other(*batch))
    with torch.no_grad():
        one.get_parameter("norm.weight").zero_()
    assert method.get_parameter("norm.weight").abs().sum() > 0


class Foreign(Method):
    """A method of another kind: vectors of any width from two layers, no tokens, a buffer that no file needs."""

    name = "foreign"
    streams: tuple[str, ...] = ("audio", "visual")

    def __init__(self, model: ModelConfig, input: InputConfig) -> None:
        super().__init__()
        self.config, self.model_config, self.input_config = Settings(), model, input
        self.sound, self.picture = nn.Linear(input.n_mels, 6), nn.Conv2d(3, 6, 4)
        self.norm = nn.BatchNorm1d(6)  # counts batches in integers
        self.register_buffer("scale", torch.full((), 2.0), persistent=False)

    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        vectors = self.vectors(audio, visual)
        return vectors["audio"], vectors["visual"]

    def vectors(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        found = {"audio": self.norm(self.sound(audio).mean(dim=1)), "visual": self.picture(visual).mean(dim=(2, 3))}
        found = {name: vector * self.scale for name, vector in found.items()}
        found["joint"] = found["audio"] * found["visual"]
        return {name: found[name] for name in self.streams}


class WithJoint(Foreign):
    streams = ("audio", "visual", "joint")


class Deaf(Foreign):
    def vectors(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return super().vectors(audio, visual)


READ = {
    "MM": lambda found: found["joint"],
    "SM": lambda found: torch.cat([found["audio"], found["visual"]], dim=-1),
    "MM+SM": lambda found: found["joint"] + found["audio"] + found["visual"],
}


@pytest.mark.parametrize("streams", READ)
def test_a_method_of_another_kind_is_fine_tuned_on_the_vectors_it_gives(
    sizes: tuple[ModelConfig, InputConfig], batch: tuple[Tensor, Tensor], streams: str
) -> None:
    method = WithJoint(*sizes).eval()
    model = built(method, streams=streams)
    torch.testing.assert_close(model(*batch), model.head(READ[streams](method.vectors(*batch))))
    if streams != "SM":
        nothing = READ[streams](method.vectors(torch.zeros_like(batch[0]), batch[1]))
        torch.testing.assert_close(model(None, batch[1], "missingvideoonly"), model.head(nothing))
    several = model(*(torch.stack([each, each], dim=1) for each in batch))
    torch.testing.assert_close(several, model(*batch)[:, None].expand(-1, 2, -1))
    model.train()(*batch).sum().backward()
    assert model.get_parameter("encoder.method.sound.weight").grad is not None
    assert method.sound.weight.grad is None  # a copy is trained
    assert torch.equal(method.norm.num_batches_tracked, torch.tensor(0))
    load_weights(model, model.state_dict())  # integers where the model has them


@pytest.mark.parametrize(("mode", "given"), [("audioonly", "audio"), ("videoonly", "visual")])
def test_one_modality_of_a_method_of_another_kind(
    sizes: tuple[ModelConfig, InputConfig], batch: tuple[Tensor, Tensor], mode: str, given: str
) -> None:
    method = Foreign(*sizes).eval()
    model = built(method, mode)
    alone = (batch[0], None) if mode == "audioonly" else (None, batch[1])
    torch.testing.assert_close(model(*alone, mode), model.head(method.vectors(*batch)[given]))


def test_streams_that_a_method_does_not_give_and_vectors_without_gradient_are_refused(
    sizes: tuple[ModelConfig, InputConfig], batch: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(InputError, match=r"found audio, visual, valid: joint .* --set task\.streams=SM"):
        built(Foreign(*sizes))
    model = built(Deaf(*sizes), streams="SM")
    with pytest.raises(InputError, match=r"found no gradient, .* --set task\.freeze=true"):
        model(*batch)
    model.freeze()
    assert model(*batch).shape == (3, 5)

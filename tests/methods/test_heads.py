from __future__ import annotations

import pytest
import torch
from torch import nn

from avbench.config import ModelConfig
from avbench.errors import InputError
from avbench.methods.heads import KEYS, ClassHead, HeadKind
from avbench.methods.published import published_key
from avbench.methods.vit import initialise, uninitialised

MODEL = ModelConfig(embed_dim=8, num_heads=2)


def head(kind: HeadKind, width: int = 8, n_frames: int = 4) -> ClassHead:
    with uninitialised():
        made = ClassHead(kind, MODEL, width, 5, n_frames)
    initialise(made, 0)
    return made


def frames(width: int = 8, n: int = 4) -> torch.Tensor:
    return torch.randn(3, n, width, generator=torch.Generator().manual_seed(0))


def test_linear_head_reads_each_frame() -> None:
    made, vectors = head("linear"), frames()
    each = torch.stack([made(vectors[:, k]) for k in range(4)], dim=1)
    torch.testing.assert_close(made(vectors), each)
    assert each.shape == (3, 4, 5)
    assert set(made.state_dict()) == {"mlp.0.weight", "mlp.0.bias", "mlp.1.weight", "mlp.1.bias"}


def test_attention_head_does_not_know_the_order_of_the_frames() -> None:
    made, vectors = head("attention", 16), frames(16)
    logits = made(vectors)
    assert logits.shape == (3, 5)
    torch.testing.assert_close(logits, made(vectors.flip(1)))
    assert not torch.allclose(logits, made(vectors[:, :3]))
    assert made(vectors[:, 0]).shape == (3, 5)


def test_attention_head_has_the_published_keys_and_size() -> None:
    with torch.device("meta"):
        made = ClassHead("attention", ModelConfig(), 2 * 768, 309, 16)
    assert sum(p.numel() for p in made.parameters()) == 57_167_157  # docs/protocol/cavmae_sync.md 1.9: 57.17 M
    keys = {published_key(f"head.{key}") for key in made.state_dict()}
    assert {"cls_cls_token", "classifier_layers.1.attn.qkv.weight", "classifier_norm.bias"} <= keys
    assert tuple(made.output.weight.shape) == (309, 1536)
    assert all(key.startswith(KEYS) for key in keys)


def test_concat_head_is_an_mlp_on_all_frames() -> None:
    made, vectors = head("concat"), frames()
    assert [tuple(m.weight.shape) for m in made.mlp if isinstance(m, nn.Linear)] == [
        (16, 32),
        (16, 16),
        (8, 16),
        (5, 8),
    ]
    assert made(vectors).shape == (3, 5)
    assert not torch.allclose(made(vectors), made(vectors.flip(1)))
    with pytest.raises(InputError, match="frames: found 3 a clip, valid: 4"):
        made(vectors[:, :3])


def test_wrong_heads_are_refused() -> None:
    with pytest.raises(InputError, match="unknown head 'lin'"):
        head("lin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="n_classes: found 0"):
        ClassHead("linear", MODEL, 8, 0, 1)

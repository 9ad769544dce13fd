"""The benchmark of a training step compares equal work."""

from __future__ import annotations

import torch

from avbench.bench.step import benchmark, plain_attention
from avbench.config import InputConfig, ModelConfig
from avbench.methods.cavmae import CavMae, CavMaeConfig

SIZES = ModelConfig(
    embed_dim=16, num_heads=2, modality_depth=1, decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2
)


def test_plain_attention_gives_the_same_and_is_taken_back() -> None:
    method = CavMae(CavMaeConfig(), SIZES, InputConfig(n_mels=32, target_length=48, image_size=32))
    audio, visual = torch.randn(2, 48, 32), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        fused = method.embed(audio, visual)
        with plain_attention(method):
            plain = method.embed(audio, visual)
        again = method.embed(audio, visual)
    for ours, theirs, last in zip(fused, plain, again, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert torch.equal(ours, last)


def test_every_comparison_is_made() -> None:
    rows = benchmark(repeats=1, model=SIZES)
    assert [row.name.split(",")[0] for row in rows] == ["features"] * 2 + ["training step"] * 2
    assert all(row.ratio > 0 for row in rows)

"""What tasks read of a method: vectors of its streams, and tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench import registry
from avbench.methods.base import Method

Batch = tuple[Tensor, Tensor]
Make = Callable[..., Method]
SEVEN = ("audiomae", "avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae", "visualmae")


@pytest.mark.parametrize("name", SEVEN)
def test_vectors_are_those_of_the_streams_it_has(make: Make, batch: Batch, name: str) -> None:
    method = make(name).eval()
    modalities = registry.find("method", name).card["modalities"]
    with torch.no_grad():
        found = method.vectors(*batch)
        assert set(found) == {*modalities, "joint"} if len(modalities) == 2 else set(found) == set(modalities)
        if len(modalities) == 2:
            embedded = method.embed(*batch)
            for stream, unit in zip(("audio", "visual"), embedded, strict=True):
                assert torch.allclose(F.normalize(found[stream], dim=-1), unit, atol=1e-6)
            # Only the joint stream depends on both.
            changed = method.vectors(batch[0], batch[1] + 1)
            assert torch.equal(changed["audio"], found["audio"])
            assert not torch.allclose(changed["joint"], found["joint"])
            assert not torch.allclose(method.vectors(batch[0] + 1, batch[1])["joint"], found["joint"])


@pytest.mark.parametrize("name", ["cavmae", "cavmae_sync"])
def test_frames_of_a_clip_are_each_what_they_are_alone(make: Make, batch: Batch, name: str) -> None:
    method = make(name).eval()
    # Two clips of three frames; the first clip's frames share one sound, as windows at a clip's end do.
    audio = torch.stack([batch[0][:1].expand(3, -1, -1), batch[0]])  # (2, 3, T, M)
    visual = torch.stack([batch[1], batch[1].flip(0)])
    with torch.no_grad():
        found, local = method.vectors(audio, visual), method.local_tokens(audio, visual)
        for clip in range(2):
            for frame in range(3):
                pair = audio[clip, frame][None], visual[clip, frame][None]
                for stream, vector in method.vectors(*pair).items():
                    assert torch.allclose(found[stream][clip, frame], vector[0], atol=1e-5), stream
                for key, tokens in method.local_tokens(*pair).items():
                    assert torch.allclose(local[key][clip, frame], tokens[0], atol=1e-5), key


@pytest.mark.parametrize(("name", "separate"), [("cavmae", False), ("cavmae_sync", True)])
def test_local_tokens_are_patches_and_the_vectors_of_retrieval(
    make: Make, batch: Batch, name: str, separate: bool
) -> None:
    method = make(name).eval()
    with torch.no_grad():
        local, embedded = method.local_tokens(*batch), method.embed(*batch)
    assert local["visual"].shape == (3, 16, 16)
    assert torch.allclose(F.normalize(local["audio_global"], dim=-1), embedded[0], atol=1e-6)
    assert torch.allclose(F.normalize(local["visual_global"], dim=-1), embedded[1], atol=1e-6)
    assert torch.allclose(local["audio"], local["audio_global"]) != separate

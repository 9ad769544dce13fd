"""A method as runs judge it: vectors are the same bits however many are computed at once, compiled but for the last."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
import pytest
from labelled_clips import INPUT, MODEL, LabelledClips

from avbench.config import Precision
from avbench.data.corpus.clips import Clips
from avbench.encoders import of_method
from avbench.encoders.of_method import OfMethod
from avbench.methods.base import Method
from avbench.methods.vit import Block
from avbench.running import weights
from avbench.running.request import Request, resolve
from avbench.store.extracted import Arrays

N, BATCH, MANY = 22, 4, 5  # the last of six batches has two clips


def vectors(
    monkeypatch: pytest.MonkeyPatch,
    *,
    compiled: bool,
    clips: int = N,
    batch: int = BATCH,
    precision: Precision = "fp32",
) -> tuple[Arrays, set[bool]]:
    """Returns the vectors of some clips, and which of compiled and not the blocks were while they were made."""
    monkeypatch.setattr(of_method, "_BATCH", batch)
    monkeypatch.setattr(of_method, "_MANY", MANY)
    asked = Request(method="cavmae", data="soundshapes", sets=("train.workers=0", f"train.compiled={compiled}"))
    run = dataclasses.replace(resolve(asked), input=INPUT, model=MODEL, precision=precision)
    method = weights.build(run).eval()
    blocks = [each for each in method.modules() if isinstance(each, Block)]
    found, seen = [], set()
    for _, values in OfMethod(method, run, "cpu").computed(
        "vectors", cast(Clips, LabelledClips(clips)), np.arange(clips), workers=0
    ):
        found.append(values)
        seen |= {each._compiled_call_impl is not None for each in blocks}
    assert all(each._compiled_call_impl is None for each in blocks)
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}, seen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_vectors_do_not_depend_on_how_many_clips_are_passed_at_once(
    monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    found = [vectors(monkeypatch, compiled=False, batch=batch, precision=precision)[0] for batch in (64, 7, 4)]
    assert all(np.array_equal(each[name], found[0][name]) for each in found[1:] for name in found[0])


def test_a_cpu_passes_as_many_frames_as_its_cache_holds() -> None:
    def batch(device: str, method: str, data: str, *sets: str) -> int:
        run = resolve(Request(method=method, data=data, sets=sets))
        return OfMethod(cast(Method, None), run, device).batch_size

    base = ("model.embed_dim=768", "model.num_heads=12", "input.target_length=1024", "input.image_size=224")
    assert [batch(device, "cavmae", "vggsound", *base) for device in ("cpu", "cuda")] == [4, 64]
    assert [batch(device, "cavmae", "soundshapes") for device in ("cpu", "cuda")] == [64, 64]
    assert batch("cpu", "cavmae", "vggsound", *base, "model.embed_dim=96", "model.num_heads=3") == 7
    windows = (*base, "input.segment_length=416", "data.n_frames=16")
    assert [batch(device, "cavmae_sync", "vggsound", *windows) for device in ("cpu", "cuda")] == [1, 4]


def test_few_batches_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    few = MANY * BATCH
    plain, _ = vectors(monkeypatch, compiled=False, clips=few)
    found, seen = vectors(monkeypatch, compiled=True, clips=few)
    assert seen == {False}
    assert all(np.array_equal(found[name], plain[name]) for name in plain)


@pytest.mark.slow
def test_many_batches_are_compiled_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = vectors(monkeypatch, compiled=False)
    assert seen == {False}
    found, seen = vectors(monkeypatch, compiled=True)
    assert seen == {True}
    assert found.keys() == plain.keys()
    for name, values in plain.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)

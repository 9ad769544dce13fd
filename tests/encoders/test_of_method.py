"""A method as runs judge it: where its blocks are compiled to extract, vectors are the same but for the last bits."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
import pytest
from labelled_clips import INPUT, MODEL, LabelledClips

from avbench.data.corpus.clips import Clips
from avbench.encoders import of_method
from avbench.encoders.of_method import OfMethod
from avbench.methods.vit import Block
from avbench.running import weights
from avbench.running.request import Request, resolve
from avbench.store.extracted import Arrays

N, BATCH, MANY = 22, 4, 5  # the last of six batches has two clips


def vectors(monkeypatch: pytest.MonkeyPatch, *, compiled: bool, clips: int = N) -> tuple[Arrays, set[bool]]:
    """Returns the vectors of some clips, and which of compiled and not the blocks were while they were made."""
    monkeypatch.setattr(of_method, "_BATCH", BATCH)
    monkeypatch.setattr(of_method, "_MANY", MANY)
    asked = Request(method="cavmae", data="soundshapes", sets=("train.workers=0", f"train.compiled={compiled}"))
    run = dataclasses.replace(resolve(asked), input=INPUT, model=MODEL)
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

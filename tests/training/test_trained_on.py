"""The list of clips that weights were trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.training import trained_on
from avbench.training.export import save_weights


def saved(folder: Path, ids: list[str], start: trained_on.TrainedOn = trained_on.NOTHING) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "weights.safetensors"
    save_weights(path, torch.nn.Linear(2, 2), extra=trained_on.write(folder, ids, start))
    return path


def test_the_list_is_read_back_and_takes_eight_bytes_a_clip(tmp_path: Path) -> None:
    ids = [f"clip{i}" for i in range(1000)]
    found = trained_on.read(saved(tmp_path, ids))
    assert found.complete
    assert found.holds(trained_on.hash_clips(["clip7", "other", "clip999"])).tolist() == [True, False, True]
    assert (tmp_path / trained_on.LIST).stat().st_size <= 8 * 1000 + 200


def test_weights_that_start_from_others_have_seen_their_clips_too(tmp_path: Path) -> None:
    first = saved(tmp_path / "first", ["a", "b"])
    second = trained_on.read(saved(tmp_path / "second", ["b", "c"], trained_on.of_init(str(first))))
    assert second.complete
    assert second.holds(trained_on.hash_clips(["a", "b", "c", "d"])).tolist() == [True, True, True, False]
    assert trained_on.of_init("timm:vit_tiny_patch16_224") is trained_on.of_init("") is trained_on.NOTHING


def test_what_is_not_known_is_not_taken_for_nothing(tmp_path: Path) -> None:
    foreign = tmp_path / "theirs.pth"
    torch.save({"module.a": torch.zeros(1)}, foreign)
    third = trained_on.read(saved(tmp_path / "third", ["c"], trained_on.of_init(str(foreign))))
    assert not third.complete
    assert third.holds(trained_on.hash_clips(["c"])).all()
    assert not trained_on.read(foreign).complete
    alone = tmp_path / "alone.safetensors"
    shutil.copy(saved(tmp_path / "fourth", ["d"]), alone)
    assert not trained_on.read(alone).complete


@pytest.mark.parametrize("content", [b"", b"no array"])
def test_a_list_of_other_weights_or_a_broken_one_is_not_used(content: bytes, tmp_path: Path) -> None:
    path = saved(tmp_path, ["a", "b"])
    np.save(tmp_path / trained_on.LIST, trained_on.hash_clips(["x"]))
    assert not trained_on.read(path).complete
    (tmp_path / trained_on.LIST).write_bytes(content)
    assert not trained_on.read(path).complete


def test_weights_of_images_saw_no_clip_and_those_of_clips_may_have() -> None:
    for source in ("", "timm:vit_base_patch16_224.mae", "imagenet-mae", "imagenet-mae-finetuned"):
        assert trained_on.of_init(source).complete, source
    assert not trained_on.of_init("cavmae-scale++").complete
